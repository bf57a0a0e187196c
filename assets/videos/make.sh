#!/bin/sh
# Makes the clips that `catchment simulate` serves. Needs ffmpeg with libx264, libvpx-vp9, libopus, libmp3lame and libwebp.
# The files are committed, so this runs only when a clip is to change: `sh assets/videos/make.sh` in any directory.
# Bit-exact flags and one thread make the output depend on the ffmpeg version alone (committed with 5.1).
set -eu
cd "$(dirname "$0")"

ff() { ffmpeg -hide_banner -loglevel error -y "$@"; }
exact="-map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -threads 1"
h264="-c:v libx264 -preset veryslow -crf 36 -pix_fmt yuv420p -g 48"
aac="-c:a aac -b:a 24k -ac 1"

# source SIZE RATE SECONDS TONE: a moving picture and a tone, both from ffmpeg's own generators
source_args() {
    printf '%s' "-f lavfi -i testsrc2=size=$1:rate=$2:duration=$3 -f lavfi -i sine=frequency=$4:sample_rate=24000:duration=$3"
}

# The word splitting of the unquoted variables below is wanted.
# moov before mdat, portrait: what a streaming-minded encoder writes
ff $(source_args 216x384 12 2 440) $h264 $aac $exact -movflags +faststart portrait_moov_first.mp4
# moov after mdat, landscape: what a plain encoder writes
ff $(source_args 384x216 12 3 330) $h264 $aac $exact landscape_moov_last.mp4
# moof/mdat pairs after an empty moov, square
ff $(source_args 256x256 12 4 523) $h264 $aac $exact -movflags +frag_keyframe+empty_moov+default_base_moof fragmented.mp4
# QuickTime brand, portrait, video only
ff -f lavfi -i testsrc2=size=216x384:rate=12:duration=5 $h264 $exact -f mov portrait.mov
# Matroska family, landscape
ff $(source_args 384x216 12 2 660) -c:v libvpx-vp9 -crf 50 -b:v 0 -pix_fmt yuv420p -c:a libopus -b:a 16k -ac 1 $exact landscape.webm
# one picture and one sound, for the image and audio task types
ff -f lavfi -i testsrc2=size=256x256:rate=1:duration=1 -frames:v 1 -q:v 12 $exact picture.jpg
ff -f lavfi -i sine=frequency=440:sample_rate=24000:duration=2 -c:a libmp3lame -b:a 24k -ac 1 $exact -id3v2_version 0 -write_xing 0 tone.mp3
# the same in the other formats that can be asked for
ff -f lavfi -i testsrc2=size=128x128:rate=1:duration=1 -frames:v 1 $exact picture.png
ff -f lavfi -i testsrc2=size=256x256:rate=1:duration=1 -frames:v 1 -c:v libwebp -q:v 30 $exact picture.webp
ff -f lavfi -i sine=frequency=440:sample_rate=8000:duration=1 -c:a pcm_u8 -ac 1 $exact tone.wav
