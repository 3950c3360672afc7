{{/* The parts that the pods of all tiers have in common; each takes `root` (the top) and `tier`. */}}

{{- define "millrace.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "millrace.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "millrace.image" -}}
image: {{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{/* A value that is secret would stand in the release and in the pods' descriptions. */}}
{{- define "millrace.checkSettings" -}}
{{- $both := .root.Values.settings -}}
{{- if not (or .root.Values.secrets.shared (and $both.MILLRACE_REDIS_URL $both.MILLRACE_DATABASE_URL)) -}}
{{- fail "secrets.shared: name the Secret that holds MILLRACE_REDIS_URL and MILLRACE_DATABASE_URL" -}}
{{- end -}}
{{- $tier := get .root.Values .tier | default dict -}}
{{- range $name, $value := merge (dict) (get $tier "settings" | default dict) .root.Values.settings -}}
{{- if regexMatch "SECRET|_API_KEYS?$|_TOKEN$|ACCESS_KEY|RLM_KEY|SEARCH_KEY" $name -}}
{{- fail (printf "settings.%s: it is secret; put it into a Secret that `secrets` names" $name) -}}
{{- end -}}
{{- if regexMatch "://[^/@]*:[^/@]+@|[?&][a-z_]*password=" (toString $value) -}}
{{- fail (printf "settings.%s: it holds a password; put it into a Secret that `secrets` names" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "millrace.env" -}}
{{- include "millrace.checkSettings" . -}}
{{- $own := dict "MILLRACE_SHUTDOWN_GRACE_SECONDS" .root.Values.shutdownGraceSeconds -}}
{{- if and (eq .tier "web") .root.Values.ingress.enabled -}}
{{- $_ := set $own "MILLRACE_TRUSTED_PROXIES" "1" -}}
{{- end -}}
{{- if eq .tier "worker" -}}
{{- $_ := set $own "MILLRACE_METRICS_ADDRESS" "0.0.0.0" -}}
{{- $_ := set $own "MILLRACE_METRICS_PORT" "9100" -}}
{{- end -}}
{{- if .root.Values.images.existingClaim -}}
{{- $_ := set $own "MILLRACE_IMAGE_DIR" "/var/lib/millrace/images" -}}
{{- end -}}
{{- $tier := get .root.Values .tier | default dict -}}
{{- range $name, $value := merge (dict) (get $tier "settings" | default dict) .root.Values.settings $own }}
- name: {{ $name }}
  value: {{ toString $value | quote }}
{{- end }}
{{- end -}}

{{- define "millrace.envFrom" -}}
{{- range compact (list .root.Values.secrets.shared (get .root.Values.secrets .tier)) }}
- secretRef: { name: {{ . | quote }} }
{{- end }}
{{- end -}}

{{- define "millrace.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if .Values.images.existingClaim }}
- name: images
  persistentVolumeClaim: { claimName: {{ .Values.images.existingClaim | quote }} }
{{- end }}
{{- end -}}

{{- define "millrace.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.images.existingClaim }}
- name: images
  mountPath: /var/lib/millrace/images
{{- end }}
{{- end -}}

{{- define "millrace.placement" -}}
{{- $tier := get .root.Values .tier -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "millrace.selector" . | nindent 8 }}
{{- with $tier.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $tier.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $tier.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
