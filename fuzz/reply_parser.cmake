lapidary_fuzz(reply_parser SOURCES reply_parser_fuzz.cc LINK chat_format)
