#!/bin/sh
# status.sh COMMAND... ID: prints running, success or failed, by what job.sh left when the job ended. A job
# that left nothing is asked after once a minute by COMMAND, which lists it while the scheduler has it. When
# the scheduler does not answer, the job is taken to run.
for id; do :; done
ended=results/cluster/$id.ended asked=results/cluster/$id.asked
if [ -s "$ended" ]; then
  if [ "$(cat "$ended")" = 0 ]; then echo success; else echo failed; fi
  rm -f "$ended" "$asked"
  exit
fi
if [ -z "$(find "$asked" -mmin -1 2>/dev/null)" ]; then
  before=$(cat "$asked" 2>/dev/null)
  told=$("$@" 2>&1)
  case $? in
    # LSF lists a job for an hour after its end
    0) case $told in EXIT* | DONE*) now=gone ;; *) now=there ;; esac ;;
    # the command itself is not there
    126 | 127) now=there ;;
    *) case $told in
        *nknown\ [Jj]ob* | *nvalid\ [Jj]ob* | *finished* | *not\ exist* | *not\ found*) now=gone ;;
        *) now=there ;;
      esac ;;
  esac
  # twice: what the job left may come late over a shared file system
  [ "$now $before" = "gone gone" ] && echo failed && rm -f "$asked" && exit
  echo "$now" >"$asked"
fi
echo running
