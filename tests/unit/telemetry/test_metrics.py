"""The exposition that Prometheus reads."""

from __future__ import annotations

from dragoman.telemetry import metrics


def test_counters_and_histograms_are_exposed() -> None:
    own = metrics.Metrics()
    own.nacks.labels("RDS", "*").inc()
    own.build.observe(0.002)
    text = own.text().decode()
    assert 'dragoman_xds_nacks_total{group="*",type="RDS"} 1.0' in text
    assert 'dragoman_build_seconds_bucket{le="0.0025"} 1.0' in text


def test_mirrors_are_read_at_scrape_time() -> None:
    own = metrics.Metrics()
    state = {("LDS", "*"): 1.0}
    own.mirror("resources", "Resources.", ("type", "group"), lambda: state.items())
    assert 'dragoman_resources{group="*",type="LDS"} 1.0' in own.text().decode()
    state["LDS", "*"] = 4.0
    assert 'dragoman_resources{group="*",type="LDS"} 4.0' in own.text().decode()


def test_two_sets_of_metrics_do_not_meet() -> None:
    one, other = metrics.Metrics(), metrics.Metrics()
    one.batches.inc()
    assert "dragoman_batches_total 0.0" in other.text().decode()
