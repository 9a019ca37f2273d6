# The loop of a flow executor: reserve, call the model, commit. A failed reservation can be given up, because its hold runs out
# by itself. A commit is repeated with the same id until it is answered; it is charged once.
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
  # A shell handles signals while it waits for a job, but not while it waits for a command.
  sleep "$PAUSE_SECONDS" &
  pause=$!
  wait $pause
done
