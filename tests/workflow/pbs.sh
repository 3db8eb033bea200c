#!/bin/sh
# The least of PBS that profiles/pbs needs, on this host: qsub, qstat or qdel, by the name that it is called by.
# Jobs begin elsewhere than where they were submitted, as they do there. $FAKE_PBS: a folder for what it knows.
alive() { grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$(cat "$FAKE_PBS/${1%%.*}" 2>/dev/null)/status"; }
case ${0##*/} in
  qsub)
    echo "$*" >>"$FAKE_PBS/asked"
    for script; do :; done
    number=$(grep -c . "$FAKE_PBS/asked")
    cp "$script" "$FAKE_PBS/$number.sh"
    export PBS_JOBID="$number.here" PBS_O_WORKDIR="$PWD"
    cd / || exit
    setsid sh "$FAKE_PBS/$number.sh" >"$FAKE_PBS/$number.log" 2>&1 </dev/null &
    echo $! >"$FAKE_PBS/$number"
    echo "$PBS_JOBID"
    ;;
  qstat)
    alive "$1" && exit
    echo "qstat: Unknown Job Id $1.here" >&2
    exit 153
    ;;
  qdel) for id; do kill -TERM -- "-$(cat "$FAKE_PBS/${id%%.*}")"; done ;;
esac
