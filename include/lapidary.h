/* Lapidary: Gemma 4 on this machine, for any program. A stable C interface to liblapidary.so.

   Four nouns. A model is a file that answers. A session is what has been said so far: a conversation in turns, or a
   plain text. A generation is one reply being written to a session. An event is a piece of it.

     lapidary_model *model;
     lapidary_session *session;
     lapidary_generation *generation;
     if (lapidary_model_open("gemma-4-12b-it-q4_0.gguf", NULL, &model) != LAPIDARY_OK) {
       fprintf(stderr, "%s\n", lapidary_error_text());
       return 1;
     }
     lapidary_session_open(model, &session);
     lapidary_session_begin_turn(session, "user");
     lapidary_session_append_text(session, "Why is the sky blue?", LAPIDARY_WHOLE_STRING, LAPIDARY_TEXT_PLAIN);
     lapidary_generation_start(session, NULL, &generation);
     if (lapidary_generation_wait(generation, -1) == LAPIDARY_OK) puts(lapidary_generation_text(generation, NULL));

   Errors. Functions return LAPIDARY_OK (0) or what kind of failure it was; lapidary_error_text() then says, on the same
   thread, what was expected, what was found and where. A call that failed has changed nothing. NULL where a value is
   needed, sizes that cannot be right and values out of range are LAPIDARY_WRONG_USE. No exception, signal or exit comes
   out of the library, and it prints nothing.

   Ownership. What a function opens, the caller closes with the close function of the same noun; closing NULL does
   nothing. They may be closed in any order: closing a model ends what still runs on it, and sessions and generations
   stay valid handles. What is passed in (texts, bytes, arrays, structs) is copied before the call returns. What is
   given out belongs to the handle that it came from, until the next call that the function's comment names.

   Threads. Models are safe from any thread, and so is everything that cancels. A session, and a generation's other
   functions, may be used by any thread, one at a time. Each model has threads of its own that do the work; callbacks
   come on one of them.

   Units. Texts are UTF-8, with their length in bytes; those that are given out end with a NUL besides. Times are
   seconds. Tokens are ids of the model's vocabulary; a picture or a sound counts as many tokens as it fills.

   Structs. Those that a caller fills begin with struct_size: zero the struct, set struct_size to its sizeof, then the
   fields that matter. Zero means the default in every field. A library that is newer than the caller's header takes
   what it does not find there as zero; one that is older refuses what it does not know, unless it is zero
   (LAPIDARY_UNSUPPORTED). Structs that are given out begin with struct_size as well: fields beyond it do not exist.

   Stability. Within one soname (liblapidary.so.0) functions, fields and numbers only join; none changes or goes. */
#ifndef LAPIDARY_H_
#define LAPIDARY_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define LAPIDARY_EXPORT
#else
#define LAPIDARY_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version ------------------------------------------------------------------------------------------------------
 */

/* Of this header. */
#define LAPIDARY_VERSION_MAJOR 0
#define LAPIDARY_VERSION_MINOR 1
#define LAPIDARY_VERSION_PATCH 0
#define LAPIDARY_VERSION_STRING "0.1.0"

/* Of the library that runs: major * 1000000 + minor * 1000 + patch, and "0.1.0". */
LAPIDARY_EXPORT uint32_t lapidary_version(void);
LAPIDARY_EXPORT const char* lapidary_version_text(void);

/* ---- Errors -------------------------------------------------------------------------------------------------------
 */

typedef int32_t lapidary_status;
enum {
  LAPIDARY_OK = 0,
  LAPIDARY_WRONG_USE = 1,     /* the caller asked for something that makes no sense */
  LAPIDARY_NOT_FOUND = 2,     /* a file that was named is not there */
  LAPIDARY_REFUSED = 3,       /* the input is damaged, hostile or not what it claims to be */
  LAPIDARY_UNSUPPORTED = 4,   /* the input is sound, but of a kind that this library or model does not handle */
  LAPIDARY_OUT_OF_MEMORY = 5, /* what was asked for does not fit */
  LAPIDARY_LIMIT = 6,         /* a size limit was reached: the context, the queue, a file */
  LAPIDARY_CANCELLED = 7,     /* cancelled, or its model was closed */
  LAPIDARY_IO = 8,            /* the operating system said no */
  LAPIDARY_TIMEOUT = 9,       /* it has not ended yet: nothing failed, wait again */
  LAPIDARY_INTERNAL = 10      /* a fault of this library */
};

/* "out of memory" and the like; "unknown" for other numbers. Never NULL, lives as long as the library. */
LAPIDARY_EXPORT const char* lapidary_status_name(lapidary_status status);

/* Why the last call on this thread that failed did so; "" if none has. At most 2047 bytes. Never NULL; valid until the
   next failing call on this thread. */
LAPIDARY_EXPORT const char* lapidary_error_text(void);

/* ---- Models -------------------------------------------------------------------------------------------------------
 */

/* A model and the threads that compute with it. Several generations of it run at once, each with the same result, to
   the last bit, as alone; what a prompt has in common with earlier ones is not computed again. */
typedef struct lapidary_model lapidary_model;

typedef struct lapidary_model_options {
  size_t struct_size;
  const char* projector;  /* the mmproj file of a GGUF file; NULL: looked for beside it */
  int64_t context_tokens; /* of each generation, prompt and reply; 0: as much as the memory bears, at most what the
                             model was made for */
  int32_t sequences_max;  /* generations that are computed at the same time; 0: 4. Others wait */
  int32_t waiting_max;    /* generations that may wait; 0: 64. One more is LAPIDARY_LIMIT */
  int32_t threads;        /* 0: one a physical core */
  int32_t reserved;       /* 0 */
  const char* kernels;    /* ref, avx2, avxvnni, avx512vnni, neon or neon-i8mm; NULL: the fastest that this CPU has */
  uint64_t memory_bytes_max;   /* for weights, keys, values and prefixes; 0: what is free */
  uint64_t prefix_cache_bytes; /* of it, for the beginnings of earlier prompts; 0: an eighth */
  const char* cache_folder;    /* keeps prefixes on disk for the next start; NULL: it does not */
  uint64_t cache_disk_bytes;   /* that they may take there */
} lapidary_model_options;

/* Opens a GGUF file or a folder as Hugging Face lays it out; path NULL: Spark, the small model that comes with Lapidary
   ($LAPIDARY_MODELS, or beside the library or the program). options may be NULL. Headers are checked here; the weights
   are mapped, and come into memory as the first generation needs them. */
LAPIDARY_EXPORT lapidary_status lapidary_model_open(const char* path, const lapidary_model_options* options,
                                                    lapidary_model** model);

/* Cancels what runs, gives the last events and waits for the model's threads. LAPIDARY_WRONG_USE in a callback, where
   it would wait for itself. */
LAPIDARY_EXPORT lapidary_status lapidary_model_close(lapidary_model* model);

typedef struct lapidary_model_info {
  size_t struct_size;
  const char* name;         /* the file's or folder's, without its ending */
  const char* architecture; /* as the file has it */
  const char* quantization; /* the type that most weights have: "q4_0" */
  int64_t parameters;
  int64_t file_bytes;
  int64_t context_tokens;                   /* of each generation */
  int64_t context_trained_tokens;           /* what the model was made for */
  int32_t sees, hears, thinks, calls_tools; /* 0 or 1 */
  int32_t chats;                            /* it has a chat format; without one it only continues texts */
  int32_t greedy;                           /* what its file advises for sampling: */
  double temperature;
  int32_t top_k;
  int32_t reserved;
  double top_p, min_p;
} lapidary_model_info;

/* *info belongs to the model, until that is closed. */
LAPIDARY_EXPORT lapidary_status lapidary_model_describe(lapidary_model* model, const lapidary_model_info** info);

/* How names of special tokens ("<bos>", "<|turn>") in a text are read. */
enum {
  LAPIDARY_TEXT_PLAIN = 0,  /* as ordinary characters: right for all that people and tools wrote */
  LAPIDARY_TEXT_SPECIAL = 1 /* as those tokens */
};

/* For `bytes`: the text ends at its NUL. */
#define LAPIDARY_WHOLE_STRING ((size_t)-1)

/* Text to ids. *count becomes their number, of which the first `capacity` are written to `tokens` (NULL if capacity is
   0): call with 0 to count. No <bos> is added. */
LAPIDARY_EXPORT lapidary_status lapidary_model_tokenize(lapidary_model* model, const char* text, size_t bytes,
                                                        int32_t how, int32_t* tokens, size_t capacity, size_t* count);

/* Ids to text, special tokens by name. *bytes becomes its length without the NUL; at most `capacity` bytes are written,
   NUL included, so what is cut off ends with a NUL too, maybe within a character. */
LAPIDARY_EXPORT lapidary_status lapidary_model_detokenize(lapidary_model* model, const int32_t* tokens, size_t count,
                                                          char* text, size_t capacity, size_t* bytes);

/* ---- Sessions -----------------------------------------------------------------------------------------------------
 */

/* What has been said so far. The first append decides what it is:

   a conversation, if it begins with lapidary_session_begin_turn or lapidary_session_append_json: turns in the model's
   own chat format. What is appended belongs to the turn that was begun last; a reply becomes the assistant's turn;

   a text, if it begins with any other append: what is appended stands there as it is, one after the other, behind the
   model's <bos> (unless tokens come first), and a reply continues it, its end-of-turn token included.

   The other kind's functions then give LAPIDARY_WRONG_USE, and so do append, fork and count while a generation
   of the session runs. A session costs no more than what was appended; nothing is computed before a generation. */
typedef struct lapidary_session lapidary_session;

LAPIDARY_EXPORT lapidary_status lapidary_session_open(lapidary_model* model, lapidary_session** session);
/* A generation that runs goes on. */
LAPIDARY_EXPORT lapidary_status lapidary_session_close(lapidary_session* session);

/* A second session that begins with all that is in the first. Both go their own ways from there; the common part is not
   computed twice, and its pictures and sounds are not copied. For another answer to the same question: fork before the
   generation. */
LAPIDARY_EXPORT lapidary_status lapidary_session_fork(lapidary_session* session, lapidary_session** fork);

/* Begins a turn of "system", "developer", "user" or "assistant". */
LAPIDARY_EXPORT lapidary_status lapidary_session_begin_turn(lapidary_session* session, const char* role);

/* Appends turns as JSON: {"messages": [...], "tools": [...], "think": false}, or only the list of messages. A message
   has "role" (system, developer, user, assistant, tool) and "content": a text, or a list of {"type": "text", "text":
   …},
   {"type": "image", "path": …}, {"type": "audio", "path": …}; assistants may have "tool_calls" and "reasoning", tools
   "tool_call_id" or "name". "tools" are function schemas as OpenAI's API has them; they replace earlier ones. `folder`
   is where paths start; NULL: a message that names a file is refused. Files are read before the call returns. */
LAPIDARY_EXPORT lapidary_status lapidary_session_append_json(lapidary_session* session, const char* json, size_t bytes,
                                                             const char* folder);

/* `how`: LAPIDARY_TEXT_PLAIN; in a text also LAPIDARY_TEXT_SPECIAL. Neighbouring plain texts are read as one. */
LAPIDARY_EXPORT lapidary_status lapidary_session_append_text(lapidary_session* session, const char* text, size_t bytes,
                                                             int32_t how);
/* In a text only. */
LAPIDARY_EXPORT lapidary_status lapidary_session_append_tokens(lapidary_session* session, const int32_t* tokens,
                                                               size_t count);
/* A picture (JPEG, PNG, WebP, GIF) or a sound (WAV, FLAC, OGG, MP3) as its file has it; at most 256 MiB. It is decoded
   when it is needed: what is wrong with it is said by the generation, or by lapidary_session_count_tokens. */
LAPIDARY_EXPORT lapidary_status lapidary_session_append_image(lapidary_session* session, const void* data,
                                                              size_t bytes);
LAPIDARY_EXPORT lapidary_status lapidary_session_append_audio(lapidary_session* session, const void* data,
                                                              size_t bytes);
LAPIDARY_EXPORT lapidary_status lapidary_session_append_image_file(lapidary_session* session, const char* path);
LAPIDARY_EXPORT lapidary_status lapidary_session_append_audio_file(lapidary_session* session, const char* path);

/* ---- Generations --------------------------------------------------------------------------------------------------
 */

typedef int32_t lapidary_event_type;
enum {
  /* The prompt is being read: tokens of tokens_total; those that were known already are not counted. */
  LAPIDARY_EVENT_PROGRESS = 1,
  /* A picture or a sound was decoded: media_kind, name (its path, or ""), tokens; width and height in pixels as the
     model gets it, or seconds; text: why the answer may suffer, or "". */
  LAPIDARY_EVENT_MEDIA = 2,
  /* The oldest turns were left out: tokens is the number of messages. */
  LAPIDARY_EVENT_TRUNCATED = 3,
  /* text: what the reply is not held to although it was declared: a tool whose schema cannot be enforced. */
  LAPIDARY_EVENT_WARNING = 4,
  /* The prompt was read: tokens, reused_tokens of them known already, seconds. */
  LAPIDARY_EVENT_PROMPT = 5,
  /* A token was chosen, and gives the text that follows: probabilities[0] is its own, those behind it are the best. */
  LAPIDARY_EVENT_TOKEN = 6,
  /* text: a piece of the thought; of the answer. In whole characters. */
  LAPIDARY_EVENT_THINKING = 7,
  LAPIDARY_EVENT_TEXT = 8,
  /* id, name; text: the arguments as a JSON object. */
  LAPIDARY_EVENT_TOOL_CALL = 9,
  /* A call that cannot be read. text: what was written; name: what is wrong with it. */
  LAPIDARY_EVENT_BAD_TOOL_CALL = 10,
  /* The last event: tokens of the reply, thinking_tokens of them in thoughts, prompt_tokens, reused_tokens,
     prompt_seconds, seconds of the reply, stop_reason, seed. */
  LAPIDARY_EVENT_END = 11,
  /* The last event: status; text: why. */
  LAPIDARY_EVENT_ERROR = 12
  /* Others may join: pass over what you do not know. */
};

typedef int32_t lapidary_stop_reason;
enum {
  LAPIDARY_STOP_TOKEN = 0,     /* the model ended its turn */
  LAPIDARY_STOP_STRING = 1,    /* a stop string was met */
  LAPIDARY_STOP_LENGTH = 2,    /* reply_tokens_max or deadline_seconds */
  LAPIDARY_STOP_CONTEXT = 3,   /* the context is full */
  LAPIDARY_STOP_TOOL_CALL = 4, /* the model ended its turn with calls: run them, append the results, generate again */
  LAPIDARY_STOP_CANCELLED = 5  /* cancelled while the reply was being written */
};

enum { LAPIDARY_MEDIA_IMAGE = 0, LAPIDARY_MEDIA_AUDIO = 1 };

typedef struct lapidary_probability {
  int32_t token;
  int32_t reserved;
  double log_probability; /* natural logarithm, before sampling */
  const char* text;       /* maybe half a character */
  size_t text_bytes;
} lapidary_probability;

/* The fields that an event's type does not name are 0, and texts that it does not name are "". */
typedef struct lapidary_event {
  size_t struct_size;
  lapidary_event_type type;
  lapidary_status status;
  const char* text;
  size_t text_bytes;
  const char* name;
  const char* id;
  int32_t media_kind;
  int32_t width, height;
  lapidary_stop_reason stop_reason;
  int64_t tokens, tokens_total;
  int64_t prompt_tokens, reused_tokens, thinking_tokens;
  double seconds, prompt_seconds;
  uint64_t seed;
  const lapidary_probability* probabilities;
  size_t probability_count;
} lapidary_event;

/* Called for each event, in order, on the model's thread, which computes nothing meanwhile: hand the event on and
   return. Anything but 0 cancels the generation. The event is valid until the callback returns. It may call any
   function but those that wait (lapidary_generation_next, lapidary_generation_wait, lapidary_model_close:
   LAPIDARY_WRONG_USE). Neither longjmp nor the thread's end may leave it; an exception that does cancels the
   generation. */
typedef int32_t (*lapidary_callback)(void* user, const lapidary_event* event);

typedef int32_t lapidary_constraint;
enum {
  LAPIDARY_CONSTRAINT_NONE = 0,
  LAPIDARY_CONSTRAINT_JSON_SCHEMA = 1, /* JSON that satisfies the schema (draft 2020-12 or 7) */
  LAPIDARY_CONSTRAINT_REGEX = 2,       /* a text that the whole of an ECMA-262 pattern matches */
  LAPIDARY_CONSTRAINT_GBNF = 3         /* a text of a context-free grammar in GBNF */
};

typedef struct lapidary_generation_options {
  size_t struct_size;
  lapidary_callback callback; /* NULL: events are fetched by lapidary_generation_next */
  void* user;                 /* for the callback */

  int64_t reply_tokens_max;    /* 0: until the model stops or the context is full */
  int64_t thinking_tokens_max; /* 0: 8192; the thought is then closed, and the answer begins */
  double deadline_seconds;     /* from now on; 0: none */
  int32_t think;               /* 1: the model may think before it answers, as "think" in a conversation's JSON */
  int32_t background;          /* 1: gives way to generations that are not */
  int32_t drop_oldest_turns; /* 1: a conversation that is too long loses its oldest turns (never system text), for this
                                generation, instead of failing */
  int32_t image_tokens;      /* a picture's at most; 0: the model's default */

  int32_t greedy;     /* 1: always the most probable token */
  int32_t top_k;      /* 0: the model's advice; -1: off */
  double temperature; /* these: 0: the model's advice; top_p 1: off; min_p -1: off */
  double top_p;
  double min_p;
  uint64_t seed; /* 0: a random one, which the last event tells. The same seed gives the same reply */

  const char* const* stop_strings; /* the reply ends before the first of them */
  size_t stop_string_count;

  lapidary_constraint constraint; /* what the answer has to be; a thought before it is free */
  int32_t probabilities;          /* N: an event for each token, with the N most probable (at most 20); 0: none */
  const char* constraint_text;    /* schema, pattern or grammar; NUL-terminated */
  const char* tool_choice; /* with tools: NULL or "auto"; "none"; "required"; or the name of the one to call. Calls
                              have the names, keys and types that the tools declare */
} lapidary_generation_options;

/* One reply. Events come until the last one, LAPIDARY_EVENT_END or LAPIDARY_EVENT_ERROR, exactly once. Just before END
   the reply is appended to the session, also if it was cancelled (as far as it was written); ERROR leaves the session
   as it was. */
typedef struct lapidary_generation lapidary_generation;

/* Starts a reply to all that is in the session, and returns without waiting for it. options may be NULL. With a
   callback, events may come before this returns. A session has one generation at a time; different sessions' run side
   by side. */
LAPIDARY_EXPORT lapidary_status lapidary_generation_start(lapidary_session* session,
                                                          const lapidary_generation_options* options,
                                                          lapidary_generation** generation);

/* Cancels it, waits for its last event and frees it. In a callback it does not wait: no further event comes. */
LAPIDARY_EXPORT lapidary_status lapidary_generation_close(lapidary_generation* generation);

/* From any thread, at any time, also in a callback. The last event comes within one step: END with
   LAPIDARY_STOP_CANCELLED if the reply had begun, else ERROR with LAPIDARY_CANCELLED. Afterwards it does nothing. */
LAPIDARY_EXPORT lapidary_status lapidary_generation_cancel(lapidary_generation* generation);

/* The next event, waited for at most `timeout_seconds` (0: not at all; negative: as long as it takes). *event is NULL
   if none came in time or if the last one was fetched already; else it is valid until the next call for this
   generation. Not with a callback. */
LAPIDARY_EXPORT lapidary_status lapidary_generation_next(lapidary_generation* generation, double timeout_seconds,
                                                         const lapidary_event** event);

/* Waits for the last event, with or without having fetched the others. LAPIDARY_OK: it is END; LAPIDARY_TIMEOUT: it has
   not come in time; else the failure that ERROR tells. */
LAPIDARY_EXPORT lapidary_status lapidary_generation_wait(lapidary_generation* generation, double timeout_seconds);

/* Once the last event has come; NULL before, or if it was ERROR. They belong to the generation, until it is closed.
   The answer without thoughts and calls; *bytes (if not NULL) becomes its length. */
LAPIDARY_EXPORT const char* lapidary_generation_text(lapidary_generation* generation, size_t* bytes);
/* The reply as a message in JSON, such as lapidary_session_append_json takes; this session has it already. */
LAPIDARY_EXPORT const char* lapidary_generation_message(lapidary_generation* generation, size_t* bytes);
/* Its ids, stop token included. */
LAPIDARY_EXPORT const int32_t* lapidary_generation_tokens(lapidary_generation* generation, size_t* count);
/* The last event, also if it was ERROR. */
LAPIDARY_EXPORT const lapidary_event* lapidary_generation_end(lapidary_generation* generation);

/* How many tokens a generation with these options (NULL: the defaults) would read now. Decodes media. */
LAPIDARY_EXPORT lapidary_status lapidary_session_count_tokens(lapidary_session* session,
                                                              const lapidary_generation_options* options,
                                                              int64_t* tokens);

#ifdef __cplusplus
}
#endif

#endif /* LAPIDARY_H_ */
