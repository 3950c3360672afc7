"""The monitoring of a system: a dashboard for Grafana and alerts for Prometheus."""
