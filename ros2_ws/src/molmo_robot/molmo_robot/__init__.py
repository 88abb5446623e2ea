"""Camera messages in, points in metres out; nothing here needs ROS.

The same session runs in the ROS 2 node (`molmo_point_ros`), in the DDS bridge and over recorded bags. It stands on `molmo_point`
(who points) and `molmo_calibration` (where that is).

types · codes · errors · stamps                              values
parameters · parameter_values · settings · topics            what can be set, and which topics there are
camera_buffers · stamped_buffer · frame_order                what cameras sent, by time
transform_buffer · transform_tracks                          where frames are, by time
snapshot · image_rotation · contrast                         one image with all that belongs to its instant
positions/                                                   from points to metres
model_call · reconnecting_pointer · session · robot · health         asking the model, and everything together
continuous_pointing                                          points between the model's answers
messages/                                                    results as messages
bag/ · dds/ · cli/                                           recordings, DDS without ROS, commands
"""
