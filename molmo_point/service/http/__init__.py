"""HTTP: our own endpoints, those of other tools' clients, the web page.

app · server · connections            the application, its socket, its kept-alive connections
access · hosts · errors               who may ask, under which host names, how refusals look
bodies · multipart · fetch · submit   from a request's body to the dispatcher and back
routes · answers · openapi            our endpoints, how their answers look, their description
openai · openai_bodies · chat         OpenAI's chat completions
model_names · dialects/               names of the model, and shapes in which coordinates are answered
moondream · roboml                    Moondream's and EmbodiedAgents' routes
label_studio · label_config           a backend of Label Studio
page/                                 the web page
"""
