# What canonical.py says, in bash and coreutils: checks of what a command left, and canonical forms.
# A test holds the two against each other; canonical.py says what each is for. No line of a big
# file passes through bash.
#
# They look at the working directory and use $scratch, a directory, and $limit, seconds.
set -u -o pipefail
export LC_ALL=C
newline=$'\n'

# Looking at big files ---------------------------------------------------------------------------

# marked BRE FILE...: a line for each, + where it matches; nl numbers those that do.
marked() {
  nl -h "p$1" -b "p$1" -f "p$1" -w 9 -s ' ' -- "${@:2}" | cut -b 9 | tr ' 0-9' '-+'
}

# matching BRE FILE...: how many lines match.
matching() {
  marked "$@" | tr -d '\n-' | wc -c
}

# first MARK BRE FILE: the number of the first line that matches (+) or does not (-).
first() {
  local count mark
  read -r count mark < <(marked "${@:2}" | uniq -c)
  [[ $mark == "$1" ]] && count=0
  printf '%d' $((count + 1))
}

sorted() {
  sort --buffer-size=64M --temporary-directory="$scratch" "$@"
}

bytes() {
  stat --format=%s -- "$1"
}

# Whether the last byte is the end of a line.
is_whole() {
  [[ $(tail -c 1 -- "$1" | wc -l) == 1 ]]
}

edits() {
  matching '^<WPEdit>$' edits.xml
}

# Checks: each fails with $problem ---------------------------------------------------------------

# check NAME PATH
check() {
  case $1 in
  bayes_words) check_bayes_words "$2" ;;
  ann_rows) check_ann_rows "$2" ;;
  bayes_db) check_bayes_db "$2" ;;
  network) check_network "$2" ;;
  trial_report) check_trial_report "$2" ;;
  table) check_table "$2" ;;
  trial_details) check_trial_details "$2" ;;
  edit_set) check_edit_set "$2" ;;
  metrics | comparison | spread | png | svg) check_in_python "$1" "$2" ;;
  *) problem="there is no check $1" && false ;;
  esac
}

is_not_empty() {
  problem="is empty"
  [[ -s $1 ]]
}

check_bayes_words() {
  local lines at blocks edits
  is_not_empty "$1" || return
  lines=$(wc -l <"$1") at=$(first - "^[01] [^$newline]" "$1")
  problem="line $((at > lines ? lines + 1 : at)): not a 0 or 1, a space and a word"
  { is_whole "$1" && ((at > lines)); } || return
  problem="line 1: does not begin with _EDIT_TOTALS"
  (($(first + '^[01] _EDIT_TOTALS$' "$1") == 1)) || return
  blocks=$(matching '^[01] _EDIT_TOTALS$' "$1") edits=$(edits)
  problem="tells of $blocks edits, but there are only $edits"
  ((blocks <= edits))
}

check_ann_rows() {
  local header edits count shape inputs outputs row=0
  is_not_empty "$1" || return
  header=$(head -c 30 -- "$1" | tr '\0' x && printf x)
  problem="line 1: not a header of three numbers"
  [[ $header =~ ^([0-9]{1,9})\ ([0-9]{1,9})\ ([0-9]{1,9})"$newline" ]] || return
  local -i rows="10#${BASH_REMATCH[1]}" in="10#${BASH_REMATCH[2]}" out="10#${BASH_REMATCH[3]}"
  edits=$(edits)
  problem="line 1: $rows rows for $edits edits"
  ((rows == edits)) || return
  problem="holds more than numbers: b'$(tr -d '0-9.\n -' <"$1" | head -c 20 | tr '\0' x)'"
  (($(tr -d '0-9.\n -' <"$1" | wc -c) == 0)) || return
  count=$(($(wc -l <"$1") - 1))
  problem="has $count whole lines for $rows rows"
  { is_whole "$1" && ((count == 2 * rows)); } || return
  # Each number becomes one 0, and what is between them goes: all rows must then look alike.
  while read -r count shape; do
    inputs=${shape%,*} outputs=${shape#*,}
    problem="line $((2 * row + 2)): does not hold $in numbers"
    ((${#inputs} == in)) || return
    problem="line $((2 * row + 3)): does not hold $out numbers"
    ((${#outputs} == out)) || return
    row=$((row + count))
  done < <(tail -n +2 -- "$1" | tr -s '0-9.-' 0 | tr -d ' ' | paste -d , - - | uniq -c)
}

check_bayes_db() {
  local -a sources=(data/*_bayes_train.dat)
  local told=""
  if [[ -e ${sources[0]} ]]; then
    told=$(matching '^[01] _EDIT_TOTALS$' "${sources[@]}")
    problem="counts edits where ${sources[*]} has none"
    ((told)) || return
  fi
  dump "$1" || return
  problem="counts 0 edits${told:+; ${sources[*]##*/} has $told}"
  [[ -s $scratch/dump ]] || [[ $(head -c 1000000 -- "$1" | tr -cd 'A-Z_') == *_EDIT_TOTALS* ]]
}

# Leave in $scratch/dump what print_bayes_db says; of a damaged database it may find no end.
dump() {
  local most
  most=$((8 * $(bytes "$1") + 4096))
  problem="no Berkeley DB database that print_bayes_db can read"
  { timeout "$limit" ./print_bayes_db "$1" && : >"$scratch/read"; } 2>/dev/null </dev/null |
    head -c "$most" >"$scratch/dump"
  [[ -e $scratch/read ]] && (($(bytes "$scratch/dump") < most))
}

check_network() {
  local line sizes="" at=1 wanted=0 found below="" words inputs outputs is_found=""
  is_not_empty "$1" || return
  problem="is not a whole network"
  is_whole "$1" || return
  while IFS= read -r line; do
    ((at > 1)) || [[ $line == FANN_FLO_2.1 ]] || return
    [[ $line != "connections ("* ]] || { is_found=yes && break; }
    [[ -n $sizes ]] || [[ ! $line =~ ^layer_sizes=(([1-9][0-9]{0,8}\ )+)$ ]] ||
      sizes=${BASH_REMATCH[1]}
    at=$((at + 1))
  done < <(head -n 1000 -- "$1" | cut -b 1-1000 | tr '\0' ' ')
  [[ $is_found && $sizes ]] || return
  for line in $sizes; do # with their bias neurons
    [[ -z $below ]] || wanted=$((wanted + below * (line - 1)))
    below=$line
  done
  found=$(($(tail -n "+$at" -- "$1" | tr -cd '(' | wc -c) - 1))
  problem="has $found weights instead of $wanted"
  ((found == wanted)) || return
  words=$(tail -n "+$at" -- "$1" | tr -cs '[:lower:]' '\n' | sorted -u)
  problem="has a weight that is no number"
  [[ $words != *nan* && $words != *inf* ]] || return
  [[ -e data/main_ann_train.dat ]] || return 0
  read -r _ inputs outputs < <(head -n 1 data/main_ann_train.dat)
  found="$((${sizes%% *} - 1)) inputs and $((below - 1)) outputs"
  problem="has $found instead of $((10#$inputs)) and $((10#$outputs))"
  [[ $problem == "has $((10#$inputs)) inputs and $((10#$outputs)) outputs instead"* ]]
}

check_trial_report() {
  local text edits
  text=$(tr '\0' x <"$1" && printf x)
  text=$newline${text%x}
  edits=$(edits)
  problem="does not report on the $edits edits of the trial set"
  [[ $text =~ ${newline}Trial\ set:\ ([0-9]+)\ Edits\ -\ ([0-9]+)\ vandalism ]] || return
  [[ "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}" =~ ^0*([0-9]{1,9})\ 0*([0-9]{1,9})$ ]] || return
  local -i told="10#${BASH_REMATCH[1]}" bad="10#${BASH_REMATCH[2]}"
  ((told == edits)) || return
  problem="a rate is no number"
  [[ $text != *nan* ]] || ((edits && (bad == 0 || bad == edits))) || return
  problem="is cut before its last line"
  [[ ${text:1} =~ $newline(Trial\ set|Correct\ positives):\ [^$newline]+${newline}[[:space:]]*$ ]]
}

check_table() {
  problem="is not a whole table with a line of headings"
  [[ $(head -c 1 -- "$1" | tr '\0' x) == '#' ]] && is_whole "$1"
}

check_trial_details() {
  local lines edits at
  is_not_empty "$1" || return
  lines=$(matching "^editid=[^,$newline]\{1,\}, [^$newline]" "$1") edits=$(edits)
  problem="has $lines whole lines for $edits edits"
  { is_whole "$1" && ((lines == $(wc -l <"$1") && lines == edits)); } || return
  at=$(first + 'score=-\{0,1\}\(nan\|inf\)' "$1")
  problem="line $at: a score is no number"
  ((at > lines))
}

check_edit_set() {
  local text
  text=$(tail -c 64 -- "$1" | tr '\0' x && printf x)
  problem="does not end with </WPEditSet>"
  [[ ${text%x} =~ "</WPEditSet>"[[:space:]]*$ ]]
}

# What only the trainer's own programs leave is looked at by canonical.py itself.
check_in_python() {
  problem=$(python3 -c '
import sys, pathlib, cbngtrain.canonical as canonical
try:
    canonical.CHECKS[sys.argv[1]](pathlib.Path(sys.argv[2]), pathlib.Path())
except canonical.FormatError as error:
    sys.exit(str(error))' "$1" "$2" 2>&1) && return
  problem=${problem#"${2##*/}: "}
  return 1
}

# Canonical forms --------------------------------------------------------------------------------

# meaning FORM PATH
meaning() {
  local line
  case $1 in
  raw) line=$(sha256sum <"$2") ;;
  lines) line=$(sorted "$2" | sha256sum) ;;
  rows) line=$(form_rows "$2" | sha256sum) ;;
  bayes_db) line=$(form_bayes_db | sha256sum) ;;
  *) false ;;
  esac && printf '%s' "${line%% *}"
}

form_rows() {
  head -n 1 -- "$1" && tail -n +2 -- "$1" | paste -d ' ' - - | sorted
}

# check_bayes_db has made the dump. A word may hold spaces, so its lines `word score good bad` are
# told apart by how many fields they have, and those with as many lose the score at once.
form_bayes_db() {
  local good bad count fields at=0
  good=$(matching '^0 _EDIT_TOTALS$' data/*_bayes_train.dat) || return
  bad=$(matching '^1 _EDIT_TOTALS$' data/*_bayes_train.dat) || return
  printf '_EDIT_TOTALS %d %d\n' "$good" "$bad"
  tr -cd ' \n' <"$scratch/dump" | tr ' ' + >"$scratch/fields" || return
  paste -d ' ' "$scratch/fields" "$scratch/dump" | sorted >"$scratch/grouped" || return
  sorted "$scratch/fields" | uniq -c >"$scratch/groups" || return
  while read -r count fields; do
    at=$((at + count)) # lines begin with $fields
    head -n "$at" "$scratch/grouped" | tail -n "$count" |
      cut -d ' ' -f "2-$((${#fields} - 1)),$((${#fields} + 1))-" || return
  done <"$scratch/groups" | sorted
}

