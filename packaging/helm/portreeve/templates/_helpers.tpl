{{- define "portreeve.image" -}}
{{- printf "%s/portreeve-%s:%s" .root.Values.image.registry .side (.root.Values.image.tag | default .root.Chart.AppVersion) -}}
{{- end }}

{{- define "portreeve.selector" -}}
app.kubernetes.io/name: portreeve
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .side }}
{{- end }}

{{- define "portreeve.labels" -}}
{{ include "portreeve.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "portreeve.collectorUrl" -}}
{{- .Values.agent.collector | default (printf "wss://portreeve-collector-agents.%s.svc:%v" .Release.Namespace .Values.collector.service.port) -}}
{{- end }}

{{- /* Names that agents and clients know the collector by. */ -}}
{{- define "portreeve.names" -}}
{{- $names := list "portreeve-collector" "portreeve-collector-agents" -}}
{{- $all := list "localhost" -}}
{{- range $names -}}
{{- $all = concat $all (list . (printf "%s.%s" . $.Release.Namespace) (printf "%s.%s.svc" . $.Release.Namespace) (printf "%s.%s.svc.cluster.local" . $.Release.Namespace)) -}}
{{- end -}}
{{- toJson $all -}}
{{- end }}

{{- define "portreeve.check" -}}
{{- if and (gt (int .Values.collector.replicas) 1) (not .Values.collector.postgresql.secretName) -}}
{{- fail "collector.replicas over 1 needs collector.postgresql.secretName: SQLite has one writer" -}}
{{- end -}}
{{- end }}

{{- define "portreeve.collectorPod" -}}
metadata:
  labels:
    {{- include "portreeve.labels" (dict "root" . "side" "collector") | nindent 4 }}
  {{- with .Values.collector.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: portreeve-collector
  automountServiceAccountToken: true
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  terminationGracePeriodSeconds: 10
  {{- with .Values.collector.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.collector.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.collector.affinity }}
  affinity:
    {{- toYaml .Values.collector.affinity | nindent 4 }}
  {{- else if gt (int .Values.collector.replicas) 1 }}
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "portreeve.selector" (dict "root" . "side" "collector") | nindent 16 }}
  {{- end }}
  containers:
    - name: collector
      image: {{ include "portreeve.image" (dict "root" . "side" "collector") }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - --listen=0.0.0.0:{{ .Values.collector.service.port }}
        - --data=/var/lib/portreeve
        - --name=portreeve-collector.{{ .Release.Namespace }}.svc
        - --tls-cert=/etc/portreeve/tls/tls.crt
        - --tls-key=/etc/portreeve/tls/tls.key
        - --admin-token-file=/var/lib/portreeve/admin-token
        {{- range .Values.collector.args }}
        - {{ . | quote }}
        {{- end }}
      {{- if .Values.collector.postgresql.secretName }}
      env:
        - name: DATABASE_URL
          valueFrom:
            secretKeyRef:
              name: {{ .Values.collector.postgresql.secretName }}
              key: {{ .Values.collector.postgresql.secretKey }}
      {{- end }}
      ports:
        - name: https
          containerPort: {{ .Values.collector.service.port }}
      startupProbe:
        httpGet: { path: /healthz, port: https, scheme: HTTPS }
        periodSeconds: 2
        failureThreshold: 300
      livenessProbe:
        httpGet: { path: /healthz, port: https, scheme: HTTPS }
        periodSeconds: 20
        timeoutSeconds: 5
      readinessProbe:
        httpGet: { path: /readyz, port: https, scheme: HTTPS }
        periodSeconds: 5
        timeoutSeconds: 5
      resources:
        {{- toYaml .Values.collector.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: data
          mountPath: /var/lib/portreeve
        - name: tls
          mountPath: /etc/portreeve/tls
          readOnly: true
        - name: tmp
          mountPath: /tmp
  volumes:
    - name: tls
      secret:
        secretName: {{ .Values.tls.secretName }}
        defaultMode: 0440
    - name: tmp
      emptyDir:
        medium: Memory
        sizeLimit: 16Mi
{{- end }}
