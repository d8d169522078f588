#!/bin/sh
# The page of quarry play, in a real Chromium (viewer/test/play.test.js).
# timeout: 300
# serial
exec sh "$(dirname "$0")/viewer.sh" play
