// The chart of the overview, and the tiles above it, kept up to date by the server.
"use strict";
(() => {
  const holder = document.getElementById("chart");
  if (!holder) return;
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const bars = uPlot.paths.bars({ size: [0.7, 40] });
  let day = JSON.parse(holder.dataset.day);
  let plot = null;

  // The failed ones stand on those that succeeded.
  const stacked = ([at, good, bad]) => [at, good.map((each, index) => each + bad[index]), good];
  function draw() {
    plot?.destroy();
    const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    plot = new uPlot(
      {
        width: holder.clientWidth, height: 220, legend: { show: false }, cursor: { y: false },
        scales: { y: { range: (_, __, most) => [0, Math.max(5, most * 1.1)] } },
        axes: [axis, { ...axis, size: 48 }],
        series: [
          {}, { label: "failed", fill: color("--bad-strong"), stroke: color("--bad-strong"), paths: bars, points: { show: false } },
          { label: "succeeded", fill: color("--good-strong"), stroke: color("--good-strong"), paths: bars, points: { show: false } },
        ],
      },
      stacked(day.points),
      holder,
    );
  }
  function tile(name, text) {
    const found = document.querySelector(`[data-live="${name}"]`);
    if (found) found.textContent = text;
  }
  function show() {
    plot.setData(stacked(day.points));
    const good = day.attempts - day.failed;
    const percent = (100 * good) / day.attempts;
    tile("share", !day.attempts ? "–" : percent === 100 ? "100 %" : percent < 99 ? `${percent.toFixed(0)} %` : `${Math.min(percent, 99.9).toFixed(1)} %`);
    tile("delivered", day.delivered.toLocaleString("en"));
    tile("dead", day.dead.toLocaleString("en"));
  }
  draw();
  addEventListener("resize", draw);
  document.addEventListener("theme", draw);
  let source = null;
  function listen() {
    source?.close();
    source = document.hidden ? null : new EventSource(holder.dataset.source);
    source?.addEventListener("day", (event) => {
      if (!event.data) return;
      day = JSON.parse(event.data);
      show();
    });
  }
  document.addEventListener("visibilitychange", listen);
  listen();
})();
