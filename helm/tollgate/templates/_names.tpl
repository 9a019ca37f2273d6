{{/* Names and labels. */}}

{{- define "tollgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "tollgate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "tollgate.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tollgate.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tollgate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "tollgate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "tollgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tollgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of the pods that this chart deploys in this mode, except the test's pod. */}}
{{- define "tollgate.workloadLabels" -}}
{{ include "tollgate.selectorLabels" . }}
app.kubernetes.io/component: {{ ternary "server" "executor" (eq .Values.mode "deployment") }}
{{- end }}

{{/* Label of every pod with a Tollgate container of this release, also in pods of other charts. */}}
{{- define "tollgate.memberLabels" -}}
tollgate/of: {{ include "tollgate.fullname" . }}
{{- end }}

{{- define "tollgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tollgate.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tollgate.image" -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag }}
{{- end }}
{{- end }}

{{- define "tollgate.ownImage" -}}
{{- $image := .Values.image -}}
{{ include "tollgate.image" (dict "repository" $image.repository "digest" $image.digest "tag" (default .Chart.AppVersion $image.tag)) }}
{{- end }}

{{/* `true` if this chart deploys pods. */}}
{{- define "tollgate.hasWorkload" -}}
{{- if or (eq .Values.mode "deployment") .Values.executor.enabled }}true{{ end }}
{{- end }}

{{/* Name of the embedded store's claim; empty if the store is deleted with its pod. */}}
{{- define "tollgate.claim" -}}
{{- $persistence := .Values.store.embedded.persistence -}}
{{- if and (eq .Values.store.kind "embedded") $persistence.enabled -}}
{{ default (printf "%s-store" (include "tollgate.fullname" .)) $persistence.existingClaim }}
{{- end }}
{{- end }}
