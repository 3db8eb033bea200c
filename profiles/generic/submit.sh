#!/bin/sh
# submit.sh COMMAND...: submits a job, and prints its number alone, as status and cancel commands take it
mkdir -p results/cluster
told=$("$@") || {
  code=$?
  echo "$told" >&2
  exit $code
}
# "123.server", "Your job 123 (...) has been submitted", "Job <123> is submitted to queue <normal>."
id=$(printf '%s\n' "$told" | grep -o '[0-9]\+' | head -n 1)
if [ -z "$id" ]; then
  echo "expected the number of a job from '$1', found: $told" >&2
  exit 1
fi
# of another job, long ago, which had this number
rm -f "results/cluster/$id.ended" "results/cluster/$id.asked"
echo "$id"
