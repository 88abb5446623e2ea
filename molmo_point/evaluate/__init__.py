"""Questions with known answers put to any `Pointer`, and what the answers are worth.

run, scores, report, table      ask, match points to things, and report: one test set, or all with floors and goals
scorers                         benchmarks as their owners score them
data_report                     the report on labelled images
score_quality, reliability      how well scores and covariances are calibrated, in numbers and plots
fit_calibration, probe, regression   the score calibration of a checkpoint
fit_domain, domain_samples      what tells the images of a calibration from foreign ones
fit_counts, count_samples       the interval of a count
compare_models                  answers of two versions of a model
answer_cache                    answers kept on disk
"""
