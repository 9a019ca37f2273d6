{{/*
Templates for your own pod. A chart that depends on this one includes them with the scope of this chart, `.Subcharts.tollgate`:

  metadata:
    labels:       {{- include "tollgate.sidecar.labels" .Subcharts.tollgate | nindent 4 }}
    annotations:  {{- include "tollgate.sidecar.annotations" .Subcharts.tollgate | nindent 4 }}
  spec:
    initContainers:   {{- include "tollgate.sidecar.container" .Subcharts.tollgate | nindent 4 }}
    containers:
      - name: executor
        volumeMounts: {{- include "tollgate.sidecar.volumeMounts" .Subcharts.tollgate | nindent 10 }}
    volumes:          {{- include "tollgate.sidecar.volumes" .Subcharts.tollgate | nindent 4 }}
*/}}

{{/* An init container that keeps running: it starts before the executor and stops after it. */}}
{{- define "tollgate.sidecar.container" -}}
{{- if ne .Values.mode "sidecar" }}
  {{- fail "tollgate.sidecar.container is for mode sidecar: set mode=sidecar." }}
{{- end -}}
- restartPolicy: Always
  {{- include "tollgate.container" . | nindent 2 }}
{{- end }}

{{- define "tollgate.sidecar.volumes" -}}
{{ include "tollgate.volumes" . }}
{{- end }}

{{/* The directory of the socket, for the executor's container. */}}
{{- define "tollgate.sidecar.volumeMounts" -}}
- name: tollgate-socket
  mountPath: {{ .Values.socket.directory }}
{{- end }}

{{- define "tollgate.sidecar.labels" -}}
{{ include "tollgate.memberLabels" . }}
{{- end }}

{{- define "tollgate.sidecar.annotations" -}}
{{ include "tollgate.checksum" . }}
{{- end }}
