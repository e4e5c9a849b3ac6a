/* Asks a model one question and prints the answer as it is written.

     cc ask.c $(pkg-config --cflags --libs lapidary) -o ask
     ./ask "Describe the picture." picture.png             # Spark, the small model that comes with Lapidary
     ./ask --model gemma-4-12b-it-q4_0.gguf "Why is the sky blue?"

   A file that ends in .wav, .mp3, .flac or .ogg is played to the model, any other is shown to it. */
#include <lapidary.h>
#include <stdio.h>
#include <string.h>

static int failed(const char* what) {
  fprintf(stderr, "ask: %s: %s\n", what, lapidary_error_text());
  return 1;
}

static int is_sound(const char* path) {
  const char* end = strrchr(path, '.');
  return end && (!strcmp(end, ".wav") || !strcmp(end, ".mp3") || !strcmp(end, ".flac") || !strcmp(end, ".ogg"));
}

static lapidary_status append_file(lapidary_session* session, const char* path) {
  return is_sound(path) ? lapidary_session_append_audio_file(session, path)
                        : lapidary_session_append_image_file(session, path);
}

/* Prints the reply. Returns the program's status. */
static int print_reply(lapidary_generation* generation) {
  for (;;) {
    const lapidary_event* event;
    if (lapidary_generation_next(generation, -1, &event) != LAPIDARY_OK) return failed("the answer");
    switch (event->type) {
      case LAPIDARY_EVENT_TEXT:
        fwrite(event->text, 1, event->text_bytes, stdout);
        fflush(stdout);
        break;
      case LAPIDARY_EVENT_MEDIA:
        if (*event->text) fprintf(stderr, "ask: %s: %s\n", event->name, event->text);
        break;
      case LAPIDARY_EVENT_ERROR:
        fprintf(stderr, "ask: %s\n", event->text);
        return 1;
      case LAPIDARY_EVENT_END:
        printf("\n");
        fprintf(stderr, "%lld tokens read, %lld written\n", (long long)event->prompt_tokens, (long long)event->tokens);
        return 0;
      default: /* there are more kinds, and there may be new ones */
        break;
    }
  }
}

static int ask(lapidary_session* session, const char* question, const char* path) {
  const int sound = path && is_sound(path);
  lapidary_status status = lapidary_session_begin_turn(session, "user");
  /* Pictures before the text, sound after it. */
  if (!status && path && !sound) status = append_file(session, path);
  if (!status) status = lapidary_session_append_text(session, question, LAPIDARY_WHOLE_STRING, LAPIDARY_TEXT_PLAIN);
  if (!status && sound) status = append_file(session, path);
  if (status) return failed("the question");

  lapidary_generation_options options = {0};
  options.struct_size = sizeof options;
  options.greedy = 1;
  options.reply_tokens_max = 512;
  lapidary_generation* generation;
  if (lapidary_generation_start(session, &options, &generation) != LAPIDARY_OK) return failed("the question");
  const int result = print_reply(generation);
  lapidary_generation_close(generation);
  return result;
}

int main(int count, char** words) {
  const char* path = NULL; /* Spark */
  if (count > 2 && !strcmp(words[1], "--model")) {
    path = words[2];
    words += 2;
    count -= 2;
  }
  if (count < 2 || count > 3) {
    fprintf(stderr, "usage: ask [--model MODEL] QUESTION [FILE]\n");
    return 2;
  }
  lapidary_model* model;
  lapidary_session* session;
  if (lapidary_model_open(path, NULL, &model) != LAPIDARY_OK) return failed("the model");
  int result = 1;
  if (lapidary_session_open(model, &session) == LAPIDARY_OK) {
    result = ask(session, words[1], count > 2 ? words[2] : NULL);
    lapidary_session_close(session);
  } else {
    failed("the session");
  }
  lapidary_model_close(model);
  return result;
}
