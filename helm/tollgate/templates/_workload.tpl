{{/* What the pods that this chart deploys have in common, in both modes. */}}

{{- define "tollgate.deploymentHead" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "tollgate.fullname" . }}
  labels:
    {{- include "tollgate.labels" . | nindent 4 }}
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ int .Values.replicaCount }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "tollgate.workloadLabels" . | nindent 6 }}
  strategy:
    {{- if eq .Values.store.kind "embedded" }}
    # Two pods cannot open the same file.
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
    {{- end }}
{{- end }}

{{- define "tollgate.podMetadata" -}}
labels:
  {{- include "tollgate.workloadLabels" . | nindent 2 }}
  {{- include "tollgate.memberLabels" . | nindent 2 }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  {{- include "tollgate.checksum" . | nindent 2 }}
  {{- with .Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "tollgate.podSpec" -}}
serviceAccountName: {{ include "tollgate.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ int .Values.terminationGracePeriodSeconds }}
securityContext:
  {{- include "tollgate.podSecurity" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range .Values.topologySpread.topologyKeys }}
  - topologyKey: {{ . }}
    maxSkew: {{ int $.Values.topologySpread.maxSkew }}
    whenUnsatisfiable: {{ $.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "tollgate.workloadLabels" $ | nindent 8 }}
  {{- end }}
{{- end }}
volumes:
  {{- include "tollgate.volumes" . | nindent 2 }}
{{- end }}
