"""Grafana dashboards and Prometheus rules as code; `python -m monitoring` writes the files beside this one."""
