{{/* The container of Tollgate and its volumes. Both modes use the same one. */}}

{{/* The security context that the restricted profile requires. No value relaxes it. */}}
{{- define "tollgate.containerSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int .Values.security.runAsUser }}
runAsGroup: {{ int .Values.security.runAsGroup }}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tollgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int .Values.security.runAsUser }}
runAsGroup: {{ int .Values.security.runAsGroup }}
fsGroup: {{ int .Values.security.fsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tollgate.probe" -}}
grpc:
  port: {{ int .port }}
  service: {{ .service }}
periodSeconds: {{ int .timing.periodSeconds }}
timeoutSeconds: {{ int .timing.timeoutSeconds }}
failureThreshold: {{ int .timing.failureThreshold }}
{{- end }}

{{- define "tollgate.container" -}}
{{- $probe := .Values.probe -}}
name: tollgate
image: {{ include "tollgate.ownImage" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve]
env:
  # `kubectl exec … -- /tollgate usage TEAM` finds the admin listener through this file too.
  - name: TOLLGATE_CONFIG
    value: /etc/tollgate/tollgate.toml
{{- include "tollgate.storeEnv" . }}
ports:
  {{- if eq .Values.mode "deployment" }}
  - name: grpc
    containerPort: 50051
  {{- if .Values.admin.expose }}
  - name: admin
    containerPort: 50052
  {{- end }}
  {{- end }}
  - name: probe
    containerPort: {{ int $probe.port }}
startupProbe:
  {{- include "tollgate.probe" (dict "port" $probe.port "service" "liveness" "timing" $probe.startup) | nindent 2 }}
livenessProbe:
  {{- include "tollgate.probe" (dict "port" $probe.port "service" "liveness" "timing" $probe.liveness) | nindent 2 }}
readinessProbe:
  {{- include "tollgate.probe" (dict "port" $probe.port "service" "readiness" "timing" $probe.readiness) | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- include "tollgate.containerSecurity" . | nindent 2 }}
volumeMounts:
  - name: tollgate-config
    mountPath: /etc/tollgate
    readOnly: true
  {{- if eq .Values.mode "sidecar" }}
  - name: tollgate-socket
    mountPath: {{ .Values.socket.directory }}
  - name: tollgate-admin
    mountPath: /run/tollgate-admin
  {{- end }}
  {{- if eq .Values.store.kind "embedded" }}
  - name: tollgate-store
    mountPath: /var/lib/tollgate
  {{- end }}
  {{- if .Values.store.redis.caSecret.name }}
  - name: tollgate-store-ca
    mountPath: /etc/tollgate-store
    readOnly: true
  {{- end }}
  {{- if .Values.tls.data.secretName }}
  - name: tollgate-tls-data
    mountPath: /etc/tollgate-tls/data
    readOnly: true
  {{- end }}
  {{- if .Values.admin.expose }}
  - name: tollgate-tls-admin
    mountPath: /etc/tollgate-tls/admin
    readOnly: true
  - name: tollgate-token
    mountPath: /etc/tollgate-token
    readOnly: true
  {{- end }}
{{- end }}

{{- define "tollgate.storeEnv" -}}
{{- $redis := .Values.store.redis }}
{{- if $redis.urlSecret.name }}
  - name: TOLLGATE_STORE
    valueFrom:
      secretKeyRef:
        name: {{ $redis.urlSecret.name }}
        key: {{ $redis.urlSecret.key }}
{{- end }}
{{- if $redis.caSecret.name }}
  - name: SSL_CERT_FILE
    value: {{ printf "/etc/tollgate-store/%s" $redis.caSecret.key }}
{{- end }}
{{- end }}

{{- define "tollgate.volumes" -}}
- name: tollgate-config
  configMap:
    name: {{ include "tollgate.fullname" . }}
{{- if eq .Values.mode "sidecar" }}
- name: tollgate-socket
  emptyDir: {}
# The executor does not mount this volume: a process that spends credits must not be able to grant them.
- name: tollgate-admin
  emptyDir: {}
{{- end }}
{{- if eq .Values.store.kind "embedded" }}
- name: tollgate-store
  {{- if include "tollgate.claim" . }}
  persistentVolumeClaim:
    claimName: {{ include "tollgate.claim" . }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- with .Values.store.redis.caSecret.name }}
- name: tollgate-store-ca
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.tls.data.secretName }}
- name: tollgate-tls-data
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- if .Values.admin.expose }}
- name: tollgate-tls-admin
  secret:
    secretName: {{ .Values.tls.admin.secretName }}
    defaultMode: 0440
- name: tollgate-token
  secret:
    secretName: {{ .Values.admin.tokenSecret.name }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{/* The checksum restarts the pods when the configuration changes. */}}
{{- define "tollgate.checksum" -}}
checksum/tollgate: {{ include "tollgate.toml" . | sha256sum }}
{{- end }}
