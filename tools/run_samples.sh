#!/usr/bin/env bash
# Lets the bundled model describe a picture, read one, transcribe a recording, tidy a dictated text and call a tool: the real
# pipeline on the files of models/spark/samples.
#   run_samples.sh PROGRAM SAMPLES
set -euo pipefail
program=$1
samples=$2

show() {
  local about=$1
  shift
  printf '\n%s\n  $ lapidary run' "$about"
  printf ' %q' "$@"
  printf '\n'
  "$program" run --greedy --image-tokens 70 "$@" | sed 's/^/  /'
}

show 'A picture of three shapes' 'Describe the picture.' --image "$samples/shapes.png"
show 'A picture of a word' 'Read the text in the picture.' --image "$samples/text.png"
show 'A recording' 'Transcribe the audio.' --audio "$samples/train.wav"
show 'A dictation, heard and tidied' 'Transcribe and clean up.' --audio "$samples/dictation.wav"
show 'A dictated text, tidied' "Clean up this dictation:
$(cat "$samples/dictation.txt")"
show 'A request that needs a tool' 'What is the weather in Oslo tomorrow?' --tools "$samples/tools.json"
show 'A spoken command that needs a tool' 'Do what is said.' --audio "$samples/command.wav" --tools "$samples/tools.json"
