{{/* tollgate.toml. It contains no secret: a store URL with a password is in TOLLGATE_STORE, and keys and tokens are files. */}}

{{/* A string, number or boolean in TOML. Helm passes numbers as floats. */}}
{{- define "tollgate.scalar" -}}
{{- if kindIs "float64" . }}{{ printf "%d" (int64 .) }}{{ else }}{{ toJson . }}{{ end }}
{{- end }}

{{- define "tollgate.scalars" -}}
{{- range $key, $value := . }}
{{ $key }} = {{ include "tollgate.scalar" $value }}
{{- end }}
{{- end }}

{{- define "tollgate.rate" -}}
{{- $rate := . -}}
{ model = {{ toJson $rate.model }}, unit = {{ toJson $rate.unit }}, credits = {{ include "tollgate.scalar" $rate.credits }}
{{- with $rate.aliases }}, aliases = {{ toJson . }}{{ end }}
{{- with $rate.credits_by_plan }}, credits_by_plan = { {{- $comma := "" }}{{ range $plan, $credits := . }}{{ $comma }} {{ $plan }} = {{ include "tollgate.scalar" $credits }}{{ $comma = "," }}{{ end }} }{{ end }} }
{{- end }}

{{- define "tollgate.toml" -}}
{{- if eq .Values.mode "sidecar" -}}
listen = {{ printf "unix:%s/tollgate.sock" .Values.socket.directory | toJson }}
admin = "unix:/run/tollgate-admin/admin.sock"
drain_delay = "0s"
{{- else -}}
listen = "0.0.0.0:50051"
admin = {{ ternary "0.0.0.0:50052" "127.0.0.1:50052" .Values.admin.expose | toJson }}
drain_delay = {{ printf "%ds" (int .Values.drain.delaySeconds) | toJson }}
{{- end }}
probe = {{ printf "0.0.0.0:%d" (int .Values.probe.port) | toJson }}
{{- if eq .Values.store.kind "embedded" }}
store = "embedded:/var/lib/tollgate"
{{- else }}
{{- with .Values.store.redis.url }}
store = {{ toJson . }}
{{- end }}
require_aof = {{ .Values.store.redis.requireAof }}
{{- end }}
{{- if .Values.tls.data.secretName }}
listen_tls_certificate = "/etc/tollgate-tls/data/tls.crt"
listen_tls_key = "/etc/tollgate-tls/data/tls.key"
{{- if .Values.tls.data.clientAuth }}
listen_tls_client_ca = "/etc/tollgate-tls/data/ca.crt"
{{- end }}
{{- end }}
{{- if .Values.admin.expose }}
admin_tls_certificate = "/etc/tollgate-tls/admin/tls.crt"
admin_tls_key = "/etc/tollgate-tls/admin/tls.key"
{{- if .Values.tls.admin.clientAuth }}
admin_tls_client_ca = "/etc/tollgate-tls/admin/ca.crt"
{{- end }}
admin_token_file = {{ printf "/etc/tollgate-token/%s" .Values.admin.tokenSecret.key | toJson }}
{{- end }}
{{- with .Values.traces.endpoint }}
otlp_endpoint = {{ toJson . }}
{{- end }}
{{- with int .Values.metrics.teams }}
metrics_teams = {{ . }}
{{- end }}
{{- include "tollgate.scalars" .Values.settings }}
{{- with .Values.plans }}

[plans]
{{- include "tollgate.scalars" . }}
{{- end }}
{{- with .Values.clients }}

[clients]
{{- range $identity, $teams := . }}
{{ toJson $identity }} = {{ toJson $teams }}
{{- end }}
{{- end }}
{{- range .Values.rateCards }}

[[rate_cards]]
version = {{ toJson .version }}
effective_at = {{ toJson .effective_at }}
rates = [
{{- range .rates }}
  {{ include "tollgate.rate" . }},
{{- end }}
]
{{- end }}
{{- range .Values.teams }}

[[teams]]
{{- include "tollgate.scalars" . }}
{{- end }}
{{ end }}
