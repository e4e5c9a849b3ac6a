#!/usr/bin/env bash
# Lets the bundled model describe a picture, read one, transcribe a recording, tidy a dictated text and call a tool: the real
# pipeline, on the files of models/spark/samples. Shows each command; fails if one of them does.
#   run_samples.sh PROGRAM SAMPLES
set -euo pipefail
program=$1
samples=$2
failed=0

show() {
  local about=$1 word
  shift
  printf '\n%s\n  $ %s run' "$about" "$program"
  for word in "$@"; do
    case $word in
      *[!A-Za-z0-9./_-]*) printf " '%s'" "$word" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
  printf '\n'
  "$program" run "$@" </dev/null | sed 's/^/    /' || {
    echo "    failed"
    failed=1
  }
}

image=(--greedy --image-tokens 70 --image)
show 'A picture of three shapes' 'Describe the picture.' "${image[@]}" "$samples/shapes.png"
show 'A picture of a word' 'Read the text in the picture.' "${image[@]}" "$samples/text.png"
show 'A recording' 'Transcribe the audio.' --greedy --audio "$samples/train.wav"
show 'A dictation, heard and tidied' 'Transcribe and clean up.' --greedy --audio "$samples/dictation.wav"
show 'A dictated text, tidied' "Clean up this dictation:
$(cat "$samples/dictation.txt")" --greedy
show 'A request that needs a tool' 'What is the weather in Oslo tomorrow?' --greedy --tools "$samples/tools.json"
show 'A spoken command that needs a tool' 'Do what is said.' --greedy --audio "$samples/command.wav" --tools "$samples/tools.json"
exit $failed
