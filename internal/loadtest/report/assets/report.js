
"use strict";
// It draws what is in the page already, and keeps it fit to read when the window, the colours or the medium change.
{
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const shade = (light, night) => () => (dark.matches && !printing ? night : light);
  const ink = shade("#1b1f24", "#e6e9ed"), grid = shade("#d0d7de", "#39414b");
  // Lines differ in colour and in dashes, which their label shows.
  const looks = [
    {stroke: shade("#0b5cad", "#6db3f2"), dash: [], sign: "━━"},
    {stroke: shade("#a84300", "#f0a04b"), dash: [10, 4], sign: "╍╍"},
    {stroke: shade("#6d3a9c", "#c79bea"), dash: [2, 3], sign: "┉┉"},
    {stroke: shade("#00695c", "#57c7b6"), dash: [10, 3, 2, 3], sign: "━·━"},
    {stroke: shade("#8a1c4a", "#f28ab2"), dash: [5, 5], sign: "╸╸"},
  ];

  const span = us => us == null ? "–" : us < 999.5 ? +us.toPrecision(3) + " µs" : us < 999500 ? +(us / 1e3).toPrecision(3) + " ms" : +(us / 1e6).toPrecision(3) + " s";
  const perSecond = n => n == null ? "–" : Math.round(n).toLocaleString("en") + "/s";
  const percent = x => +(100 - 100 / x).toFixed(5) + " %";
  const axis = (label, value, more) => ({label, stroke: ink, grid: {stroke: grid, width: 1}, ticks: {stroke: grid, width: 1}, size: 70,
    values: (_, splits) => splits.map(v => v == null ? "" : value(v)), ...more});
  const line = (name, look, value) => ({...looks[look], label: `${name} ${looks[look].sign}`, width: 2, points: {size: 4}, value: (_, v) => value(v)});
  const column = (s, name) => s.columns[s.names.indexOf(name)];
  const positive = {distr: 3, range: (_, low, high) => low == null ? [1, 10] : uPlot.rangeLog(low, high === low ? low * 10 : high, 10, false)};
  const decades = (_, splits) => splits.map(v => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9 ? v : null);
  const byTen = {filter: decades, grid: {stroke: grid, width: 1, filter: decades}, ticks: {stroke: grid, width: 1, filter: decades}};

  const kinds = {
    latency() {
      const t = plots.time;
      return [{
        height: 260, cursor: {sync: {key: "time"}}, scales: {x: {time: false}, y: positive},
        axes: [axis(null, v => v + " s", {size: 30}), axis("latency", span, byTen)],
        series: [{label: "at", value: (_, v) => v == null ? "–" : v + " s"}, line("p50", 0, span), line("p99", 1, span), line("max", 2, span)],
      }, ["seconds", "p50", "p99", "max"].map(n => column(t, n))];
    },
    rate() {
      const t = plots.time;
      return [{
        height: 180, cursor: {sync: {key: "time"}}, scales: {x: {time: false}, y: {range: (_, low, high) => [0, Math.max(1, high * 1.05)]}},
        axes: [axis(null, v => v + " s", {size: 30}), axis("per second", v => v.toLocaleString("en"))],
        series: [{label: "at", value: (_, v) => v == null ? "–" : v + " s"}, line("calls", 0, perSecond), line("errors", 1, perSecond)],
      }, ["seconds", "calls/s", "errors/s"].map(n => column(t, n))];
    },
    ranks() {
      const r = plots.ranks;
      return [{
        height: 300, scales: {x: {time: false, distr: 3, range: (_, low, high) => [1, Math.max(10, high)]}, y: positive},
        axes: [axis(null, percent, {size: 30, ...byTen}), axis("latency", span, byTen)],
        series: [{label: "percentile", value: (_, v) => v == null ? "–" : percent(v)}, ...r.names.slice(1).map((n, i) => line(n, i, span))],
      }, r.columns];
    },
    histogram(index) {
      const bins = plots.histograms[index].bins;
      const fill = shade("#0b5cad", "#6db3f2");
      return [{
        height: 160, scales: {x: {time: false, range: (_, low, high) => [low - 0.1, high + 0.1]}, y: {range: (_, low, high) => [0, Math.max(1, high * 1.05)]}},
        axes: [axis(null, v => span(10 ** v), {size: 30, incrs: [1, 2]}), axis("calls", v => v.toLocaleString("en"))],
        series: [{label: "latency", value: (_, v) => v == null ? "–" : span(10 ** v)}, {label: "calls", stroke: fill, fill, paths: uPlot.paths.bars({size: [0.9]}), points: {show: false}}],
      }, [bins.map(b => (Math.log10(b.from) + Math.log10(b.to)) / 2), bins.map(b => b.count)]];
    },
  };

  const drawn = [];
  for (const place of document.querySelectorAll(".plot")) {
    const [options, data] = kinds[place.dataset.plot](place.dataset.index);
    if (!data[0] || data[0].length === 0) continue;
    const plot = new uPlot({width: place.clientWidth, ...options}, data, place);
    plot.root.setAttribute("aria-hidden", "true"); // the table says the same
    drawn.push([place, plot]);
  }
  const fit = width => drawn.forEach(([place, plot]) => {
    plot.setSize({width: width ? width(place) : place.clientWidth, height: plot.height});
    plot.redraw();
  });
  const closed = [];
  addEventListener("resize", () => fit());
  dark.addEventListener("change", () => fit());
  addEventListener("beforeprint", () => {
    printing = true;
    document.querySelectorAll("section > details:not([open])").forEach(d => { d.open = true; closed.push(d); });
    fit(place => place.closest(".small") ? 320 : 660);
  });
  addEventListener("afterprint", () => {
    printing = false;
    closed.splice(0).forEach(d => { d.open = false; });
    fit();
  });
}
