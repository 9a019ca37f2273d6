# What a flow executor does for each block: reserve, call the model, commit. A reservation may be given up, for its hold runs
# out by itself; a commit is repeated until it is answered, by the same id, and so charged once.
pause=
trap 'kill $pause 2>/dev/null; exit 0' TERM INT

ask() { # rpc, request
  grpcurl -plaintext -unix -authority localhost -max-time 5 -d "$2" "$SOCKET" "tollgate.v1.QuotaService/$1"
}

block=0
while :; do
  block=$((block + 1))
  reservation="${HOSTNAME:-executor}-$(date +%s)-$block"
  request="\"team_id\": \"$TEAM\", \"reservation_id\": \"$reservation\""
  answer=$(ask CheckAndReserve "{$request, \"flow_id\": \"sample\", \"run_id\": \"$reservation\", \"block_id\": \"block\",
    \"model\": \"gpt-4o\"}") || answer=
  echo "$answer"
  case $answer in
    *'"proceed"'*)
      echo "The model is called here."
      until ask Commit "{$request}"; do sleep 1; done
      ask EndRun "{\"team_id\": \"$TEAM\", \"run_id\": \"$reservation\"}" >/dev/null
      ;;
    *'"suspend"'*) echo "The block is parked." ;;
  esac
  # A shell hears no signal while it waits for a command, but does while it waits for a job.
  sleep "$PAUSE_SECONDS" &
  pause=$!
  wait $pause
done
