# What runs in the pod of a step: bash, coreutils and curl, nothing else; for the trainer's own
# programs, Python and cbngtrain, which their image has anyway.
#
# script.py writes above this text what canonical.sh holds, and above that the step's own values:
#   name, key                 the step and its fingerprint
#   store, release            URLs: the file service; a core release, or nothing
#   workspace                 directory of the programs, in which the command runs
#   limit, patience           seconds: for the command; that one request may wait between tries
#   where                     what runs it: pods or jobs
#   command, seed             what is run
#   clear                     what may lie in the workspace from earlier or from the image
#   inputs, conf              path and digest of each; conf's below conf/
#   leaves                    path, artifact, form and check of each
#   record                    of the record's JSON what is known before: parts, inputs, fingerprint
began=${EPOCHREALTIME/./} # microseconds
termination=${CBNG_TERMINATION_LOG-}
token=${FILE_API_KEY-}
unset FILE_API_KEY "${!CBNG_@}" # a command sees what is declared
scratch=$(mktemp -d) || exit 80
kept=null # the log's digest as JSON

# How it ends ------------------------------------------------------------------------------------

# JSON CODE EXIT PROBLEM: the end as JSON, for the dispatcher, and the end.
end() {
  local json
  json="{\"code\":$1,\"exit\":$2,\"problem\":$(quoted "$3"),\"log\":$kept}"
  : >"$scratch/ended"
  [[ -z $termination ]] || printf '%s\n' "$json" >"$termination"
  printf 'cbngtrain: %s\n' "$json"
  exit "$1"
}

# A text as JSON: printable ASCII, not too long.
quoted() {
  local text=${1:0:500}
  text=${text//[^[:print:]]/ }
  text=${text//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# For SIGTERM and SIGINT: nothing is waited for.
# shellcheck disable=SC2317 # trap calls it
stop() {
  trap '' TERM INT
  disown "$main" # bash says nothing of its end
  {
    kill -KILL -- "-$main"
    [[ ! -s $scratch/command ]] || kill -KILL -- "-$(<"$scratch/command")"
  } 2>/dev/null
  (end "$1" null "stopped by a signal")
  rm -rf -- "$scratch"
  exit "$1"
}

# The file service -------------------------------------------------------------------------------

# request METHOD PATH [OPTION...]: asks the service, again while it is away. Leaves the status in
# $status and the body in the file $answer. Fails, with $problem, if it stays away.
answer=$scratch/answer
request() {
  local method=$1 url=$store$2 left=$patience pause=1 code
  shift 2
  while :; do
    status=$(curl --disable --silent --show-error --globoff --proto '=http,https' \
      --connect-timeout 10 --speed-limit 1 --speed-time 60 --header "@$scratch/header" \
      --header 'Accept: application/json' --request "$method" "$@" \
      --output "$answer" --write-out '%{http_code}' --url "$url" 2>"$scratch/complaint")
    code=$?
    problem="$method $url: $(<"$scratch/complaint")"
    case $code:$status in
    0:408 | 0:425 | 0:429 | 0:502 | 0:503 | 0:504) problem="$method $url: $status" ;;
    0:*) return 0 ;;
    23:* | 26:* | 27:* | 60:*) return 1 ;; # a file, memory, a certificate: it will not pass
    esac
    ((pause <= left)) || return 1
    printf '%s; trying again in %d s\n' "$problem" "$pause"
    sleep "$pause"
    left=$((left - pause)) pause=$((pause < 15 ? 2 * pause : 30))
  done
}

# Whether the last answer was one of the statuses given; $problem tells what it was instead.
is_answered() {
  local text wanted
  for wanted; do
    [[ $status != "$wanted" ]] || return 0
  done
  text=$(head -c 2000 -- "$answer" | tr '\0' ' ')
  problem="$problem$status $text"
  if [[ $text =~ \"title\":\ *\"([^\"]*)\" ]]; then
    problem="${problem%"$text"}${BASH_REMATCH[1]}"
    [[ ! $text =~ \"detail\":\ *\"([^\"]*)\" ]] || problem+=": ${BASH_REMATCH[1]}"
  fi
  return 1
}

# fetch PATH DIGEST: an input, verified. Bytes that are wrong twice are taken out of the store.
fetch() {
  local try answer=$scratch/input
  mkdir -p -- "$(dirname -- "$1")" || end 80 null "$1 cannot be written"
  for try in 1 2; do
    { request GET "/cas/$2" && is_answered 200; } || end 80 null "$1 could not be fetched: $problem"
    if [[ $(sha256 "$answer") == "$2" ]]; then
      mv -- "$answer" "$1" || end 80 null "$1 cannot be written"
      return
    fi
    printf '%s came with other bytes than %s (%d)\n' "$1" "$2" "$try"
  done
  answer=$scratch/answer
  request DELETE "/cas/$2"
  end 81 null "$1 has other bytes than $2 has"
}

sha256() {
  local line
  line=$(sha256sum <"$1") && printf '%s' "${line%% *}"
}

# upload PATH DIGEST: fails with $problem.
upload() {
  request PUT "/cas/$2" --upload-file "$1" && is_answered 200 201
}

# upload_missing [PATH DIGEST]...: those of them that the service does not have.
upload_missing() {
  local at
  local -a asked=()
  for ((at = 2; at <= $#; at += 2)); do
    asked+=("\"${!at}\"")
  done
  (IFS=, && printf '[%s]' "${asked[*]}") >"$scratch/asked"
  request POST /_/missing --header 'Content-Type: application/json' \
    --data-binary "@$scratch/asked" || return
  is_answered 200 || return
  upload_named "$(<"$answer")" "$@"
}

# upload_named TEXT [PATH DIGEST]...: those of them that TEXT names.
upload_named() {
  local text=$1
  shift
  while (($#)); do
    [[ $text != *"$2"* ]] || upload "$1" "$2" || return
    shift 2
  done
}

# Steps of a step --------------------------------------------------------------------------------

prepare() {
  local at
  { mkdir -p -- "$workspace" && cd -- "$workspace"; } || end 80 null "$workspace is not there"
  rm -rf -- "${clear[@]}" || end 80 null "$workspace cannot be emptied"
  [[ -z $release ]] || fetch_release
  ((${#conf[@]} == 0)) || rm -rf conf || end 80 null "$workspace/conf cannot be emptied"
  for ((at = 0; at < ${#conf[@]}; at += 2)); do
    fetch "conf/${conf[at]}" "${conf[at + 1]}"
  done
  for ((at = 0; at < ${#inputs[@]}; at += 2)); do
    fetch "${inputs[at]}" "${inputs[at + 1]}"
  done
  for ((at = 0; at < ${#leaves[@]}; at += 4)); do
    mkdir -p -- "$(dirname -- "${leaves[at]}")" || end 80 null "$workspace cannot be written"
  done
}

# The programs and the configuration of a core release; its models are not wanted.
fetch_release() {
  local file
  for file in cluebotng create_ann create_bayes_db print_bayes_db conf.tar.gz; do
    curl --disable --silent --show-error --fail --location --globoff --proto '=http,https' \
      --connect-timeout 10 --speed-limit 1 --speed-time 60 --retry 6 --retry-connrefused --retry-max-time 120 \
      --output "$file" --url "$release/$file" 2>"$scratch/complaint" ||
      end 80 null "$release/$file could not be fetched: $(<"$scratch/complaint")"
    chmod 755 "$file"
  done
  rm -rf conf
  { tar --extract --gzip --file conf.tar.gz && [[ -d conf ]]; } ||
    end 80 null "$release/conf.tar.gz holds no conf/"
}

# Run the command; its output goes to standard output and to the log. Leaves its exit code in
# $code and its microseconds in $took. It is the leader of a process group (timeout makes one), of
# which nothing stays behind. What has left that group ends with the container; till then it may
# hold the pipe, so that has an end of its own.
run() {
  local tee group since=${EPOCHREALTIME/./}
  mkfifo "$scratch/pipe"
  tee "$scratch/log" <"$scratch/pipe" &
  tee=$!
  [[ -z $seed ]] || export CBNG_SEED=$seed
  ( # which stop() finds before it has a group of its own
    printf '%d' "$BASHPID" >"$scratch/command"
    exec timeout --kill-after=10 "$limit" "${command[@]}"
  ) </dev/null >"$scratch/pipe" 2>&1 &
  group=$!
  wait "$group"
  code=$?
  kill -KILL -- "-$group" 2>/dev/null
  : >"$scratch/command"
  timeout --foreground 10 tail --pid="$tee" --sleep-interval=0.05 --follow /dev/null
  kill "$tee" 2>/dev/null
  wait "$tee"
  took=$((${EPOCHREALTIME/./} - since))
  ((code != 137 || took < limit * 1000000)) || code=124 # it had to be killed
}

# The last line of the log that is not empty.
last_line() {
  local text
  text=$(tail -c 2000 "$scratch/log" | tr '\r\0' '\n ')
  text=${text%"${text##*[![:space:]]}"}
  text=${text##*"$newline"}
  printf '%s' "${text#"${text%%[![:space:]]*}"}"
}

keep_log() {
  local digest
  digest=$(sha256 "$scratch/log") || return
  upload_missing "$scratch/log" "$digest" || return
  kept="\"$digest\""
}

judge() {
  local last
  last=$(last_line)
  case $code in
  0) return ;;
  124) end 124 124 "no end after $limit s, when it was stopped" ;;
  137) end 137 137 "exit code 137: killed, for want of memory perhaps" ;;
  *) end 82 "$code" "exit code $code${last:+: $last}" ;;
  esac
}

# Check what the command left; describe it in $artifacts, and name it in $blobs.
collect() {
  local at path artifact form check digest meaning size
  for ((at = 0; at < ${#leaves[@]}; at += 4)); do
    path=${leaves[at]} artifact=${leaves[at + 1]} form=${leaves[at + 2]} check=${leaves[at + 3]}
    problem="the command did not leave it"
    { [[ -f $path ]] && check "$check" "$path"; } ||
      end 83 0 "exit code 0 but a bad output: $path: $problem"
    { digest=$(sha256 "$path") && size=$(bytes "$path") && meaning=$(meaning "$form" "$path"); } ||
      end 84 0 "$path: its digest and meaning could not be computed; is the disk full?"
    artifacts+="${artifacts:+,}{\"name\":\"$artifact\",\"digest\":\"$digest\","
    artifacts+="\"meaning\":\"$meaning\",\"size\":$size}"
    blobs+=("$path" "$digest")
  done
}

# Store the blobs and then the record, which stands for success.
commit() {
  local try about
  upload_missing "${blobs[@]}" || end 84 0 "$problem"
  about="\"seconds\":$(seconds $((${EPOCHREALTIME/./} - began)))"
  about+=",\"command_seconds\":$(seconds "$took"),\"where\":\"$where\""
  printf '{%s,"log":%s,"artifacts":[%s],"about":{%s}}' \
    "$record" "$kept" "$artifacts" "$about" >"$scratch/record"
  for try in 1 2 3; do
    request PUT "/ac/$key" --header 'Content-Type: application/json' \
      --upload-file "$scratch/record" || end 84 0 "$problem"
    ! is_answered 200 201 || return
    [[ $status == 422 && $(<"$answer") == *'"missing"'* ]] || end 84 0 "$problem"
    printf 'the service lost blobs; uploading them again (%d)\n' "$try"
    upload_named "$(<"$answer")" "$scratch/log" "${kept//\"/}" "${blobs[@]}" ||
      end 84 0 "$problem"
  done
  end 84 0 "$problem"
}

# Microseconds as seconds with one decimal.
seconds() {
  printf '%d.%d' "$(($1 / 1000000))" "$(($1 / 100000 % 10))"
}

main() {
  local code took problem="" artifacts="" status=000
  local -a blobs=()
  set +m
  token=${token%%,*}
  token=${token#"${token%%[![:space:]]*}"}
  (umask 077 && printf 'Authorization: Bearer %s\n' "${token%%[[:space:]]*}" >"$scratch/header")
  printf '%s as %.12s\n' "$name" "$key"
  prepare
  run
  keep_log || ((code)) || end 84 0 "the log could not be stored: $problem"
  judge
  collect
  commit
  end 0 0 ""
}

# A shell waits for signals only where it waits for nothing else: all work is done by a child.
set -m # gives it a process group
main </dev/null &
main=$!
set +m
trap 'stop 143' TERM
trap 'stop 130' INT
wait "$main"
code=$?
[[ -e $scratch/ended ]] || (end "$code" null "the script was killed, for want of memory perhaps")
rm -rf -- "$scratch"
exit "$code"
