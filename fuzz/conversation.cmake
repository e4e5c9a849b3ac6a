lapidary_fuzz(conversation SOURCES conversation_fuzz.cc LINK chat_format)
