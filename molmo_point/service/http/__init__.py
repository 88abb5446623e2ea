"""HTTP: our own endpoints, OpenAI's and Moondream's, the web page.

app · server · connections            the application, its socket, its kept-alive connections
access · hosts · errors               who may ask, under which host names, how refusals look
bodies · multipart · fetch · submit   from a request's body to the dispatcher and back
routes · openai · moondream · openapi the endpoints and their description
page/                                 the web page
"""
