lapidary_fuzz(serve_requests SOURCES serve_requests_fuzz.cc LINK serve)
