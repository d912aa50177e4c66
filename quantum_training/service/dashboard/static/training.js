"use strict";

const PRESETS = "quantum_training.presets";
const FIELDS = ["symbol", "recipes", "as_of", "episodes"];
const MOST_LIVE_RUNS = 20;
const MOST_LIVE_POINTS = 1000;
const liveRuns = new Map();

// Runs that are not over: a bar, the newest numbers, and reward and losses as a picture.
function showRun(told) {
  if (!liveRuns.has(told.run_id)) {
    if (told.is_over || liveRuns.size >= MOST_LIVE_RUNS) return;
    addLiveRun(told);
  }
  const run = liveRuns.get(told.run_id);
  addPoints(run, told);
  // An answer may be older than what the stream has told meanwhile.
  if (told.is_over || told.percent >= run.percent) showNumbers(run, told);
}

function addLiveRun(told) {
  const element = document.getElementById("live-run").content.cloneNode(true).firstElementChild;
  const link = element.querySelector("a");
  link.textContent = [told.job, told.symbol, told.run_id.slice(0, 8)].filter(Boolean).join(" ");
  link.href = `/api/v2/runs/${told.run_id}`;
  element.querySelector("progress").ariaLabel = `Progress of run ${told.run_id.slice(0, 8)}`;
  document.getElementById("live").append(element);
  document.getElementById("no-live-run").hidden = true;
  liveRuns.set(told.run_id, { element, points: [], percent: 0, isOver: false });
}

function addPoints(run, told) {
  const curve = told.curve ?? [];
  const later = run.points.filter((point) => point.step > (curve.at(-1)?.step ?? -1));
  run.points = [...curve, ...later];
  if (told.step > (run.points.at(-1)?.step ?? -1)) run.points.push({ step: told.step, metrics: told.metrics });
  run.points.splice(0, run.points.length - MOST_LIVE_POINTS);
  if (run.points.length > 1) drawRun(run.element.querySelector("figure"), run.points);
}

function showNumbers(run, told) {
  [run.percent, run.isOver] = [told.percent, told.is_over];
  const part = (selector) => run.element.querySelector(selector);
  part(".state").textContent = told.status.toLowerCase();
  part(".state").className = `state ${told.status.toLowerCase()}`;
  part("progress").value = told.percent;
  part(".message").textContent = `${told.percent.toFixed(0)} %, ${told.message}`;
  part(".metrics").textContent = Object.entries(told.metrics)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${value.toPrecision(4)}`).join(", ");
}

function drawRun(figure, points) {
  const names = [...new Set(points.flatMap((point) => Object.keys(point.metrics)))];
  const data = names.filter((name) => /reward|loss/.test(name)).map((name) => ({
    type: "scatter", mode: "lines", name: name.replaceAll("_", " "), yaxis: name.includes("loss") ? "y2" : "y",
    x: points.map((point) => point.step), y: points.map((point) => point.metrics[name] ?? null),
  }));
  const layout = {
    height: 260, yaxis: { title: { text: "reward" } },
    yaxis2: { title: { text: "losses" }, overlaying: "y", side: "right", showgrid: false, automargin: true },
  };
  figure.hidden = false;
  plot(figure.querySelector("div"), { data, layout });
}

// Also after the connection was away: meanwhile a run may have ended.
async function showActiveRuns() {
  const first = document.getElementById("live").dataset.runs.split(" ").filter(Boolean);
  const known = [...liveRuns].filter(([, run]) => !run.isOver).map(([id]) => id);
  for (const id of new Set([...first.filter((id) => !liveRuns.has(id)), ...known])) {
    const answer = await fetch(`/api/v2/runs/${id}/progress`);
    if (answer.ok) showRun(await answer.json());
  }
}

// Presets of the form, kept in this browser.
function readPresets() {
  return JSON.parse(localStorage.getItem(PRESETS) ?? "{}");
}

function keepPresets(presets, chosen) {
  localStorage.setItem(PRESETS, JSON.stringify(presets));
  const options = Object.keys(presets).sort().map((name) => new Option(name));
  document.getElementById("preset").replaceChildren(...options);
  if (chosen) document.getElementById("preset").value = chosen;
}

function checkedPresets(value) {
  const isObject = (thing) => thing !== null && typeof thing === "object" && !Array.isArray(thing);
  if (!isObject(value) || !Object.values(value).every(isObject)) throw new Error("it holds no presets by name");
  const known = (preset) => FIELDS.filter((name) => name in preset).map((name) => [name, String(preset[name])]);
  return Object.fromEntries(Object.entries(value).map(([name, preset]) => [name, Object.fromEntries(known(preset))]));
}

function usePresets(form, place) {
  const byId = (id) => document.getElementById(id);
  const on = (id, type, handle) => byId(id).addEventListener(type, async (event) => {
    try {
      place.textContent = await handle(event) ?? "";
    } catch (error) {
      place.textContent = `Nothing was changed: ${error.message}.`;
    }
  });
  on("preset-save", "click", () => {
    const name = byId("preset-name").value.trim();
    if (!name) return "Name the preset first.";
    const preset = Object.fromEntries(FIELDS.map((field) => [field, form.elements[field].value]));
    keepPresets({ ...readPresets(), [name]: preset }, name);
    return `Saved ${name}.`;
  });
  on("preset-load", "click", () => {
    const preset = readPresets()[byId("preset").value];
    if (!preset) return "There is no preset yet. Fill the form, name it and save it.";
    for (const [name, value] of Object.entries(preset)) form.elements[name].value = value;
    form.dispatchEvent(new Event("change"));
    return `Loaded ${byId("preset").value}.`;
  });
  on("preset-delete", "click", () => {
    const { [byId("preset").value]: gone, ...others } = readPresets();
    keepPresets(others);
  });
  on("preset-export", "click", () => saveFile("training-presets.json", JSON.stringify(readPresets(), null, 2), "application/json"));
  on("preset-import", "change", async (event) => {
    const read = checkedPresets(JSON.parse(await event.target.files[0].text()));
    event.target.value = "";
    keepPresets({ ...readPresets(), ...read });
    return `Read ${Object.keys(read).length} presets.`;
  });
  keepPresets(readPresets());
}

// Only the recipes of the chosen symbol can be chosen.
function offerRecipes(form) {
  const recipes = form.elements.symbol.selectedOptions[0]?.dataset.recipes.split(" ") ?? [];
  for (const option of form.elements.recipes.options) {
    option.hidden = option.disabled = option.value !== "" && !recipes.includes(option.value);
  }
  if (form.elements.recipes.selectedOptions[0]?.disabled) form.elements.recipes.value = "";
}

handlers.run.push(showRun);
handlers.open.push(showActiveRuns);
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("start-training");
  form.addEventListener("change", () => offerRecipes(form));
  offerRecipes(form);
  usePresets(form, document.getElementById("preset-told"));
});
