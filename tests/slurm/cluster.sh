#!/usr/bin/env bash
# A Slurm of one node with accounting and four pretended GPUs, from Debian's packages, without systemd.
#   tests/slurm/cluster.sh up | down | start DAEMON | stop DAEMON
# For root, on a host without a Slurm of its own. `up` may run again: what is up stays up. What it
# started stands in $WORK/run/*.pid; `down` stops that and fails if any of it is left. $WORK stays.
# Exit code 77: no Slurm can be had here, with the reason as the last line.
set -euo pipefail
WORK=${SENSIGAP_SLURM:-/tmp/sensigap-slurm}
CPUS=${CPUS:-2}
PACKAGES="slurm-wlm slurm-wlm-basic-plugins munge slurmdbd mariadb-server"
DAEMONS="munged mariadbd slurmdbd slurmctld slurmd" # in the order in which they need each other
FILES="slurm gres slurmdbd"
HOST=$(hostname -s)
PATH=$PATH:/usr/sbin:/sbin

skip() { echo "$*" >&2; exit 77; }
alive() { [ -s "$WORK/run/$1.pid" ] && kill -0 "$(cat "$WORK/run/$1.pid")" 2>/dev/null; }
answers() { # what, a command that succeeds once it is there
  local what=$1 i
  shift
  for ((i = 0; i < 60; i++)); do
    # each of Slurm's commands goes on asking by itself
    timeout 5 "$@" >/dev/null 2>&1 && return 0
    sleep 0.5
  done
  echo "$what: expected an answer within a minute, got none; see $WORK/log" >&2
  return 1
}

install() {
  for name in $FILES; do
    file=/etc/slurm/$name.conf
    if [ -e "$file" ] && [ "$(readlink -f "$file")" != "$(readlink -f "$WORK")/etc/$name.conf" ]; then
      skip "this host has a Slurm of its own: $file"
    fi
  done
  local command missing=""
  for command in slurmctld slurmd slurmdbd munged mariadbd sacct squeue; do
    command -v "$command" >/dev/null || missing=$command
  done
  [ -z "$missing" ] && return
  command -v apt-get >/dev/null || skip "$missing is not installed, and there is no apt-get here"
  echo "installing $PACKAGES"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -qq -y --no-install-recommends $PACKAGES; } \
    >"$WORK/log/apt.log" 2>&1 || skip "apt-get cannot install $PACKAGES: see $WORK/log/apt.log"
}

configure() {
  getent hosts "$HOST" >/dev/null || echo "127.0.1.1 $HOST" >>/etc/hosts
  cat >"$WORK/etc/slurm.conf" <<C
ClusterName=trial
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$WORK/munge/socket
StateSaveLocation=$WORK/state
SlurmdSpoolDir=$WORK/spool
SlurmctldPidFile=$WORK/run/slurmctld.pid
SlurmdPidFile=$WORK/run/slurmd.pid
SlurmctldLogFile=$WORK/log/slurmctld.log
SlurmdLogFile=$WORK/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePass=$WORK/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
# memory is held to without cgroups, which a container may not have
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
KillWait=10
OverTimeLimit=0
NodeName=$HOST NodeAddr=127.0.0.1 CPUs=$CPUS Boards=1 SocketsPerBoard=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=200000 Gres=gpu:4 State=UNKNOWN
PartitionName=main Nodes=$HOST Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
C
  printf 'AutoDetect=off\nNodeName=%s Name=gpu File=/dev/tty[0-3]\n' "$HOST" >"$WORK/etc/gres.conf"
  cat >"$WORK/etc/slurmdbd.conf" <<C
AuthType=auth/munge
AuthInfo=socket=$WORK/munge/socket
DbdHost=$HOST
DbdAddr=127.0.0.1
SlurmUser=root
PidFile=$WORK/run/slurmdbd.pid
LogFile=$WORK/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=33306
StorageUser=slurm
StoragePass=trial
StorageLoc=slurm_acct
C
  chmod 600 "$WORK/etc/slurmdbd.conf"
  # there and not by SLURM_CONF: the plugin keeps that from the commands inside of a job
  mkdir -p /etc/slurm
  for name in $FILES; do ln -sfn "$WORK/etc/$name.conf" "/etc/slurm/$name.conf"; done
}

start() {
  alive "$1" && return
  # a pid that another process has by now must not be taken for the daemon's
  rm -f "$WORK/run/$1.pid"
  "start_$1" </dev/null
}

start_munged() {
  local key=$WORK/munge/key
  [ -e "$key" ] || head -c 1024 /dev/urandom >"$key"
  chown -R munge: "$WORK/munge"
  chmod 755 "$WORK/munge"
  chmod 400 "$key"
  setpriv --reuid=munge --regid=munge --clear-groups munged --key-file="$key" \
    --socket="$WORK/munge/socket" --pid-file="$WORK/munge/munged.pid" \
    --log-file="$WORK/munge/munged.log" --seed-file="$WORK/munge/seed"
  answers munged munge -n -S "$WORK/munge/socket"
  cp "$WORK/munge/munged.pid" "$WORK/run/munged.pid"
}

start_mariadbd() {
  local data=$WORK/mysql client="mariadb --no-defaults -S $WORK/mysql/socket"
  chown mysql: "$data"
  [ -d "$data/mysql" ] || mariadb-install-db --no-defaults --user=mysql --datadir="$data" \
    --skip-test-db >"$WORK/log/mariadb-install.log" 2>&1
  setsid mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$data/socket" \
    --bind-address=127.0.0.1 --port=33306 --innodb-buffer-pool-size=64M \
    --innodb-lock-wait-timeout=900 --pid-file="$data/mariadbd.pid" >"$WORK/log/mariadbd.log" 2>&1 &
  answers mariadbd $client -e 'select 1'
  cp "$data/mariadbd.pid" "$WORK/run/mariadbd.pid"
  $client -e "create database if not exists slurm_acct;
    create user if not exists slurm@'127.0.0.1' identified by 'trial';
    create user if not exists slurm@localhost identified by 'trial';
    grant all on slurm_acct.* to slurm@'127.0.0.1'; grant all on slurm_acct.* to slurm@localhost;"
}

# these three go to the background by themselves
start_slurmdbd() {
  slurmdbd
  answers slurmdbd sacctmgr -n show cluster
  for what in "cluster trial" "account research Cluster=trial" \
    "user $(id -un) Account=research Cluster=trial"; do
    sacctmgr -i add $what >/dev/null || true # there already
  done
}
start_slurmctld() { slurmctld && answers slurmctld scontrol ping; }
start_slurmd() {
  slurmd -N "$HOST" 2>/dev/null || slurmd
  answers slurmd sh -c "sinfo -h -o %T | grep -E 'idle|mix|alloc'"
}

stop() {
  local file=$WORK/run/$1.pid i pid
  [ -s "$file" ] || return 0
  pid=$(cat "$file")
  kill "$pid" 2>/dev/null || true
  for ((i = 0; i < 120; i++)); do
    kill -0 "$pid" 2>/dev/null || { rm -f "$file"; return 0; }
    sleep 0.5
  done
  echo "$1 ($pid): expected to have ended within a minute, is still there" >&2
  return 1
}

up() {
  [ "$(id -u)" = 0 ] || skip "only root can bring a Slurm up: this is user $(id -u)"
  # with plain files jobs get no CUDA_VISIBLE_DEVICES
  [ -c /dev/tty3 ] || skip "GPUs are pretended with /dev/tty0 to 3, which are not here"
  mkdir -p "$WORK"/{etc,run,log,state,spool,mysql,munge}
  chmod 755 "$WORK" "$WORK/run"
  install
  configure
  for daemon in $DAEMONS; do start "$daemon"; done
  sinfo -o '%P %N %T %c %m %G'
}

down() {
  local left=0 daemon name
  if alive slurmctld; then
    scancel --user "$(id -un)" || true
    for ((i = 0; i < 60; i++)); do
      [ -z "$(squeue -h 2>/dev/null)" ] && break
      sleep 0.5
    done
  fi
  for daemon in slurmd slurmctld slurmdbd mariadbd munged; do stop "$daemon" || left=1; done
  for name in $FILES; do
    [ -L "/etc/slurm/$name.conf" ] && rm -f "/etc/slurm/$name.conf"
  done
  return $left
}

case ${1:-} in
  up | down) "$1" ;;
  start | stop) "$1" "$2" ;;
  *) echo "expected up, down, start DAEMON or stop DAEMON; found '${1:-}'" >&2; exit 2 ;;
esac
