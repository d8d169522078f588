#!/bin/sh
# timeout: 1200
# long
exec sh "$(dirname "$0")/musl.sh" all
