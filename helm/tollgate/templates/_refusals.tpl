{{/* Refuses combinations of values that a schema cannot express. Each message says what to do. */}}

{{- define "tollgate.refusals" -}}
{{- $store := .Values.store -}}
{{- $redis := $store.redis -}}
{{- if eq $store.kind "embedded" }}
  {{- if gt (int .Values.replicaCount) 1 }}
    {{- fail (printf "replicaCount is %d, but the embedded store works in one pod only: set store.kind=redis and name a server in store.redis, or leave replicaCount at 1." (int .Values.replicaCount)) }}
  {{- end }}
  {{- if .Values.autoscaling.enabled }}
    {{- fail "autoscaling.enabled adds pods, but the embedded store works in one pod only: set store.kind=redis and name a server in store.redis, or leave autoscaling off." }}
  {{- end }}
  {{- if or $redis.url $redis.urlSecret.name }}
    {{- fail "store.redis names a server, but store.kind is embedded: set store.kind=redis to use it." }}
  {{- end }}
{{- else }}
  {{- if and $redis.url $redis.urlSecret.name }}
    {{- fail "store.redis.url and store.redis.urlSecret.name both name the server: set only one of them." }}
  {{- end }}
  {{- if not (or $redis.url $redis.urlSecret.name) }}
    {{- fail "store.kind is redis, but no server is named: set store.redis.url, or store.redis.urlSecret.name to the Secret that holds the URL." }}
  {{- end }}
  {{- if or (contains "@" $redis.url) (contains "pass=" $redis.url) }}
    {{- fail "store.redis.url contains a user or a password, which would be readable in a ConfigMap: put the URL into a Secret and set store.redis.urlSecret.name." }}
  {{- end }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
  {{- fail "autoscaling.minReplicas is greater than autoscaling.maxReplicas: lower it, or raise autoscaling.maxReplicas." }}
{{- end }}
{{- if eq .Values.mode "sidecar" }}
  {{- if .Values.tls.data.secretName }}
    {{- fail "tls.data is for mode deployment: a sidecar listens on a socket inside its pod, without TLS. Unset it, or set mode=deployment." }}
  {{- end }}
  {{- if or .Values.admin.expose .Values.tls.admin.secretName }}
    {{- fail "admin.expose and tls.admin are for mode deployment: with a sidecar, operators use `kubectl exec`. Unset them, or set mode=deployment." }}
  {{- end }}
  {{- if .Values.clients }}
    {{- fail "clients binds teams to client certificates, which is for mode deployment: only its own pod can open a sidecar's socket. Unset it, or set mode=deployment." }}
  {{- end }}
  {{- if and .Values.executor.enabled (eq $store.kind "redis") (not .Values.executor.team) (not .Values.teams) }}
    {{- fail "the sample executor needs a team, and a shared store has no demo teams: set executor.team, or list a team in teams." }}
  {{- end }}
{{- else }}
  {{- if .Values.executor.enabled }}
    {{- fail "executor.enabled is for mode sidecar: set mode=sidecar, or leave it off." }}
  {{- end }}
  {{- if and .Values.admin.expose (not (and .Values.tls.admin.secretName .Values.admin.tokenSecret.name)) }}
    {{- fail "admin.expose lets other machines reach the admin listener, which needs TLS and a token: set tls.admin.secretName and admin.tokenSecret.name." }}
  {{- end }}
  {{- if and .Values.clients (not (and .Values.tls.data.secretName .Values.tls.data.clientAuth)) }}
    {{- fail "clients binds teams to client certificates, but none are required: set tls.data.secretName and tls.data.clientAuth." }}
  {{- end }}
  {{- $least := add (int .Values.drain.delaySeconds) 15 }}
  {{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) }}
    {{- fail (printf "terminationGracePeriodSeconds is %d, but a shutdown takes up to %d: drain.delaySeconds, and 15 to finish calls in flight and give leases back. Raise it." (int .Values.terminationGracePeriodSeconds) (int $least)) }}
  {{- end }}
{{- end }}
{{- end }}
