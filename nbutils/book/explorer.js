/* The landscape explorer. What is shown comes from nbutils.book.explorer; here it is only drawn.

   1 state and address   2 where everything stands   3 drawing   4 motion   5 words   6 hands, keys and theme */
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const { sets: SETS } = JSON.parse($("data").textContent);
  const stage = $("stage"), canvas = $("view"), pen = canvas.getContext("2d");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const SLOPE = 1.7, NARROWEST = 5, ROOTS = 0.22, LEFT = 34, PHOTO = 34;

  // --- 1 state and address

  const state = { set: SETS[0].key, weights: "trained", layer: Infinity, level: 0, peak: null }; // opens on the last layer
  const set = () => SETS.find((one) => one.key === state.set);
  const air = () => (set().pictures ? 82 : 46); // above the highest summit: room for its name, and its photograph
  const land = () => set()[state.weights];
  const layer = () => land().layers[state.layer];
  const view = () => layer().views[state.level];
  const slug = (name) => name.replaceAll(" ", "-");
  const shown = (name) => name.replace(" mean", "");

  function readAddress() {
    const asked = new URLSearchParams((location.hash || location.search).slice(1));
    const found = SETS.find((one) => one.key === asked.get("data"));
    if (found) state.set = found.key;
    state.weights = asked.get("weights") === "random" ? "random" : "trained";
    const wanted = land().layers.findIndex((one) => slug(one.name) === asked.get("layer"));
    state.layer = wanted >= 0 ? wanted : Math.min(state.layer, land().layers.length - 1);
    const z = Number(asked.get("z") ?? land().levels[0]);
    state.level = nearest(land().levels, Number.isFinite(z) ? z : 0);
    const peak = asked.get("peak");
    state.peak = view().mountains.some((one) => String(one.peak) === peak) ? Number(peak) : null;
  }

  function address() {
    const parts = { data: state.set, layer: slug(layer().name), z: land().levels[state.level] };
    if (state.weights === "random") parts.weights = "random";
    if (state.peak !== null) parts.peak = state.peak;
    return "#" + new URLSearchParams(parts);
  }

  const nearest = (values, x) => values.reduce((best, v, i) => (Math.abs(v - x) < Math.abs(values[best] - x) ? i : best), 0);

  /** Change the state, keep the chosen mountain if it is still there or has become part of another, and show it all. */
  function go(change) {
    const before = { layer: layer(), weights: state.weights, set: state.set, level: state.level, peak: state.peak };
    const name = layer().name;
    Object.assign(state, change);
    if (state.set !== before.set || state.weights !== before.weights) {
      const same = land().layers.findIndex((one) => one.name === name);
      state.layer = same >= 0 ? same : land().layers.length - 1;
      state.peak = null;
    } else if (!("peak" in change) && before.peak !== null) {
      state.peak = heir(before);
    }
    history.replaceState(null, "", address());
    show();
  }

  function heir(before) {
    const old = before.layer.views[before.level].mountains.find((one) => one.peak === before.peak);
    if (before.layer !== layer()) return view().mountains.find((one) => old && one.id === old.id)?.peak ?? null;
    const first = layer().views[0].mountains.findIndex((one) => one.peak === before.peak);
    return first < 0 ? null : view().mountains[view().merged[first]].peak;
  }

  // --- 2 where everything stands: a scene has numbers only, so that two of them can be mixed

  const noise = (i) => { const x = Math.sin(i * 127.1 + 11.7) * 43758.5453; return x - Math.floor(x); };

  function scene() {
    const { mountains, merged } = view(), n = land().photographs;
    const width = stage.clientWidth - LEFT, least = Math.min(NARROWEST, width / 2 / mountains.length);
    const wide = mountains.map((one) => Math.max(least, (one.size / n) * width));
    const total = wide.reduce((a, b) => a + b, 0);
    const key = `${state.set} ${state.weights}`;
    let x = 0;
    const hills = mountains.map((one, i) => {
      const from = x;
      x += wide[i] / total;
      return {
        ids: [`${key} ${layer().name} ${one.peak}`, `${key} at ${state.level} ${one.id}`], one,
        n: [from, x, mountains[i - 1]?.pass ?? 0, one.pass ?? 0, one.top, ...tint(one.kingdoms, one.size), 1],
      };
    });
    const top = Math.max(...mountains.map((one) => one.top));
    const grains = layer().heights.map((tenths, i) => {
      const hill = hills[merged[layer().home[i]]].n, h = Math.min(tenths / 10, hill[4]);
      const l = edge(hill, h, 0), r = edge(hill, h, 1);
      return [l + noise(i) * (r - l), h];
    });
    return { hills, grains, high: [top], sea: [land().levels[state.level] * layer().error],
      peaks: mountains.map((one) => one.peak), tree: tree(mountains, hills) };
  }

  /** Where the left (0) or right (1) slope of a mountain has the height h. */
  function edge(hill, h, side) {
    const foot = hill[2 + side], middle = (hill[0] + hill[1]) / 2;
    return h <= foot ? hill[side] : hill[side] + (middle - hill[side]) * ((h - foot) / (hill[4] - foot || 1)) ** (1 / SLOPE);
  }

  const middle = ({ n }) => (n[0] + n[1]) / 2;

  /** How animal and how artificial: [animals, artifacts], the lead of the larger of the two, the other 0. */
  const tint = ([animals, artifacts], size) => [Math.max(0, animals - artifacts) / size, Math.max(0, artifacts - animals) / size];

  /** The joins of the single-linkage tree, highest first. As the mountains stand in its order, the passes are the tree. */
  function tree(mountains, hills) {
    const group = mountains.map(({ size, kingdoms }, i) => ({ x: middle(hills[i]), rank: null, size, kingdoms, ends: [i, i] }));
    const joins = [];
    const passes = mountains.slice(0, -1).map((one, i) => [one.pass, i]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
    for (const [rank, [, i]] of passes.entries()) {
      const [a, b] = [group[i], group[i + 1]];
      const both = {
        x: (a.x + b.x) / 2, rank, size: a.size + b.size, kingdoms: a.kingdoms.map((n, k) => n + b.kingdoms[k]),
        ends: [a.ends[0], b.ends[1]],
      };
      joins.push({ legs: [a, b], whole: both });
      group.fill(both, both.ends[0], both.ends[1] + 1);
    }
    return joins;
  }

  // --- 3 drawing

  const ink = {};
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ground", "sky", "ink", "faint", "line", "animal", "artifact", "other", "water"]) {
      ink[name] = hex(style.getPropertyValue(`--${name}`).trim());
    }
  }
  const hex = (text) => {
    const digits = text.length === 4 ? text.replace(/[^#]/g, "$&$&") : text; // #fff is #ffffff
    return [1, 3, 5].map((i) => parseInt(digits.slice(i, i + 2), 16));
  };
  const mix = (a, b, t) => a.map((x, i) => x + (b[i] - x) * t);
  const css = (c, alpha = 1) => `rgb(${c.map(Math.round).join(" ")} / ${alpha})`;
  /** The colour of a mountain: grey where it is mixed, that of its family where it is pure. */
  const colour = (animal, artifact) => {
    const lead = Math.max(animal, artifact);
    return mix(ink.other, animal > artifact ? ink.animal : ink.artifact, lead && Math.min(1, 0.15 + 1.1 * lead));
  };

  const size = { w: 0, h: 0, base: 0 };
  function fit() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    Object.assign(size, { w: stage.clientWidth, h: stage.clientHeight });
    size.base = Math.round(size.h * (1 - ROOTS));
    canvas.width = size.w * ratio;
    canvas.height = size.h * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }
  const px = (x) => LEFT + x * (size.w - LEFT);
  let high = 1;
  const py = (h) => size.base - (h / high) * (size.base - air());

  function draw(now) {
    high = now.high[0];
    pen.clearRect(0, 0, size.w, size.h);
    drawScale();
    const { hills } = now;
    drawWater(hills, now.sea[0]);
    hills.forEach(drawHill);
    drawGrains(now.grains);
    drawRoots(now);
    drawNames(hills);
  }

  function drawScale() {
    const step = [1, 2, 5, 10, 20, 50, 100].find((s) => high / s <= 7);
    pen.font = "11px system-ui, sans-serif";
    pen.lineWidth = 1;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (let h = 0; h <= high; h += step) {
      pen.strokeStyle = css(ink.line, 0.7);
      pen.fillStyle = css(ink.faint);
      pen.beginPath();
      pen.moveTo(LEFT, Math.round(py(h)) + 0.5);
      pen.lineTo(size.w, Math.round(py(h)) + 0.5);
      pen.stroke();
      pen.fillText(h, LEFT - 7, h ? py(h) : size.base - 6);
    }
    pen.textAlign = "left";
    pen.fillText("log density", 8, 14);
  }

  function slope(hill, side, path) {
    const [x0, x1, , , top] = hill, foot = hill[2 + side], middle = (x0 + x1) / 2, end = side ? x1 : x0;
    for (let i = 0; i <= 14; i++) {
      const t = side ? 1 - i / 14 : i / 14;
      path.lineTo(px(end + (middle - end) * t), py(foot + (top - foot) * t ** SLOPE));
    }
  }

  /** Every valley is under water to the depth that the threshold asks for. */
  function drawWater(hills, depth) {
    for (let i = 0; i + 1 < hills.length; i++) {
      const [a, b] = [hills[i].n, hills[i + 1].n], level = a[3] + depth;
      if (level >= Math.min(a[4], b[4])) continue;
      const [l, r] = [px(edge(a, level, 1)), px(edge(b, level, 0))];
      pen.fillStyle = css(ink.water, 0.75);
      pen.fillRect(l, py(level), r - l, py(a[3]) - py(level) + 1);
      pen.fillStyle = css(mix(ink.water, ink.ink, 0.35), 0.8);
      pen.fillRect(l, py(level), r - l, 1);
    }
  }

  function drawHill({ n, one }) {
    const body = colour(n[5], n[6]), chosen = one.peak === state.peak, hover = one.peak === pointed;
    const path = new Path2D();
    path.moveTo(px(n[0]), size.base);
    slope(n, 0, path);
    slope(n, 1, path);
    path.lineTo(px(n[1]), size.base);
    path.closePath();
    const fade = pen.createLinearGradient(0, py(n[4]), 0, size.base);
    fade.addColorStop(0, css(mix(ink.ground, body, chosen || hover ? 0.85 : 0.55)));
    fade.addColorStop(1, css(mix(ink.ground, body, chosen || hover ? 0.45 : 0.16)));
    pen.fillStyle = fade;
    pen.fill(path);
    pen.lineWidth = chosen ? 2.5 : 1;
    pen.strokeStyle = chosen ? css(ink.ink) : css(mix(body, ink.ink, 0.25), 0.9);
    const line = new Path2D();
    slope(n, 0, line);
    slope(n, 1, line);
    pen.stroke(line);
  }

  function drawGrains(grains) {
    const { of, kingdoms } = land(), dot = size.w < 500 ? 1.3 : 1.7;
    pen.globalAlpha = 0.8;
    for (const kingdom of [-1, 1, 0]) {
      pen.fillStyle = css(kingdom < 0 ? ink.other : kingdom ? ink.artifact : ink.animal);
      grains.forEach(([x, h], i) => {
        if (kingdoms[of[i]] === kingdom) pen.fillRect(px(x) - dot / 2, py(h) - dot / 2, dot, dot);
      });
    }
    pen.globalAlpha = 1;
  }

  /** The tree of saddles, as roots: the joins from the highest pass, just below the ground, to the lowest. */
  function drawRoots({ tree: joins, peaks, alpha = 1 }) {
    pen.fillStyle = css(ink.ground);
    pen.fillRect(0, size.base, size.w, size.h - size.base);
    pen.strokeStyle = css(ink.ink, 0.55);
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(LEFT, size.base + 0.5);
    pen.lineTo(size.w, size.base + 0.5);
    pen.stroke();
    if (!joins.length) return;
    const down = (rank) => size.base + 12 + ((rank + 1) / (joins.length + 1)) * (size.h - size.base - 22);
    const picked = peaks.indexOf(pointed ?? state.peak);
    for (const marked of [false, true]) {
      for (const { legs, whole } of joins) {
        for (const leg of legs) {
          const on = picked >= leg.ends[0] && picked <= leg.ends[1];
          if (on !== marked) continue;
          pen.globalAlpha = alpha;
          pen.strokeStyle = css(mix(colour(...tint(leg.kingdoms, leg.size)), ink.ink, on ? 0.5 : 0.1), on ? 1 : 0.85);
          pen.lineWidth = on ? 2.6 : 1.4;
          const y = down(whole.rank), from = leg.rank === null ? size.base + 1 : down(leg.rank), dx = Math.sign(whole.x - leg.x);
          const bend = Math.min(6, y - from, Math.abs(px(whole.x) - px(leg.x)));
          pen.beginPath();
          pen.moveTo(px(leg.x), from);
          pen.lineTo(px(leg.x), y - bend);
          pen.quadraticCurveTo(px(leg.x), y, px(leg.x) + dx * bend, y);
          pen.lineTo(px(whole.x), y);
          pen.stroke();
        }
      }
    }
    pen.globalAlpha = 1;
  }

  /** Names over the summits, largest mountains first, as many as there is room for; with a photograph where there are any. */
  function drawNames(hills) {
    const tall = set().pictures ? PHOTO + 4 : 0, small = size.w < 500;
    pen.textAlign = "center";
    pen.textBaseline = "alphabetic";
    pen.lineJoin = "round";
    const taken = [];
    const first = (one) => one.peak === pointed || one.peak === state.peak;
    for (const { n, one } of [...hills].sort((a, b) => first(b.one) - first(a.one) || b.one.size - a.one.size)) {
      if (n[7] < 0.5) continue;
      pen.font = `${first(one) ? 700 : 500} ${small ? 11 : 12.5}px system-ui, sans-serif`;
      const half = Math.max(pen.measureText(one.name).width, tall) / 2 + 3, y = py(n[4]) - 7;
      const x = Math.min(Math.max(px((n[0] + n[1]) / 2), half + LEFT - 6), size.w - half);
      const box = [x - half, x + half, y - 13 - tall, y + 4];
      const covers = taken.some(([l, r, t, b]) => box[1] > l && box[0] < r && box[3] > t && box[2] < b);
      const hides = hills.some((hill) => {
        const at = px(middle(hill));
        return hill.one !== one && at > box[0] && at < box[1] && py(hill.n[4]) < y + 2;
      });
      if (covers || (hides && !first(one))) continue;
      taken.push(box);
      pen.strokeStyle = css(ink.ground, 0.85);
      pen.lineWidth = 3.5;
      pen.strokeText(one.name, x, y);
      pen.fillStyle = css(ink.ink);
      pen.fillText(one.name, x, y);
      if (tall) drawPhoto(one.peak, x, y - 14 - PHOTO);
    }
  }

  function drawPhoto(number, x, y) {
    const { pictures } = set(), [column, row] = cell(pictures, number), from = sheet(pictures).image;
    if (!from.complete) return;
    pen.save();
    pen.beginPath();
    pen.roundRect(x - PHOTO / 2, y, PHOTO, PHOTO, 6);
    pen.clip();
    pen.drawImage(from, column * pictures.side, row * pictures.side, pictures.side, pictures.side, x - PHOTO / 2, y, PHOTO, PHOTO);
    pen.restore();
  }

  /** The sheet of photographs, decoded once. */
  const sheets = new Map();
  function sheet(pictures) {
    if (!sheets.has(pictures)) {
      const bytes = Uint8Array.from(atob(pictures.sheet.split(",")[1]), (c) => c.charCodeAt(0));
      const image = new Image(), url = URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));
      image.onload = () => seen && draw(seen);
      image.src = url;
      sheets.set(pictures, { url, image, place: new Map(pictures.numbers.map((n, i) => [n, i])) });
    }
    return sheets.get(pictures);
  }

  /** Column and row of a photograph on the sheet. */
  function cell(pictures, number) {
    const at = sheet(pictures).place.get(number);
    return [at % pictures.columns, Math.floor(at / pictures.columns)];
  }

  // --- 4 motion: the scene that is seen moves towards the one that is wanted

  let seen = null, wanted = null, motion = 0;
  const late = (t, by) => Math.max(0, Math.min(1, 1.35 * t - 0.35 * by)); // not all grains leave at once
  const ease = (t) => (t < 0.5 ? 4 * t ** 3 : 1 - (2 - 2 * t) ** 3 / 2);

  function move(to) {
    cancelAnimationFrame(motion);
    const from = seen;
    if (!from || still.matches || from.grains.length !== to.grains.length || document.hidden) return draw((seen = to));
    const row = weave(from, to), start = performance.now(), long = 1200;
    const frame = (time) => {
      const t = Math.min(1, (time - start) / long), e = ease(t);
      seen = t === 1 ? to : {
        ...(t < 0.4 ? from : to), alpha: t < 0.4 ? 1 - t / 0.4 : (t - 0.4) / 0.6,
        high: mix(from.high, to.high, e), sea: mix(from.sea, to.sea, e),
        hills: row.map(({ one, ids, before, after }) => ({ one, ids, n: mix(before, after, e) })),
        grains: to.grains.map((grain, i) => mix(from.grains[i], grain, ease(late(t, noise(i + 0.5))))),
      };
      draw(seen);
      if (t < 1) motion = requestAnimationFrame(frame);
    };
    motion = requestAnimationFrame(frame);
  }

  /** Mountains of both scenes in one row without gaps, each with its numbers before and after.

      The same mountain grows or shrinks. A new one rises out of a pass, an old one sinks into a pass, and so do the
      lighter ones of those that change places with each other. */
  function weave(from, to) {
    const row = [];
    let [i, j] = [0, 0];
    for (const [p, q] of [...keptInOrder(from, to), [from.hills.length, to.hills.length]]) {
      const alone = [...from.hills.slice(i, p).map((old) => ({ old })), ...to.hills.slice(j, q).map((young) => ({ young }))];
      const at = ({ n }) => n[0] + n[1];
      row.push(...alone.sort((a, b) => at(a.old ?? a.young) - at(b.old ?? b.young)));
      if (p < from.hills.length) row.push({ old: from.hills[p], young: to.hills[q] });
      [i, j] = [p + 1, q + 1];
    }
    const flat = (hills, passed, like) => {
      const left = hills[passed - 1]?.n, [x, foot] = left ? [left[1], left[3]] : [0, 0];
      return [x, x, foot, foot, foot, like.n[5], like.n[6], 0];
    };
    let [olds, youngs] = [0, 0];
    return row.map(({ old, young }) => {
      const before = old ? old.n : flat(from.hills, olds, young), after = young ? young.n : flat(to.hills, youngs, old);
      olds += Boolean(old);
      youngs += Boolean(young);
      return { one: (young ?? old).one, ids: young ? young.ids : [], before, after };
    });
  }

  /** Places, before and after, of the mountains that are in both scenes in the same order: the choice with most photographs. */
  function keptInOrder(from, to) {
    const best = [], heaviest = (chains) => chains.reduce((a, b) => (a && a.weight >= b.weight ? a : b), null);
    from.hills.forEach((hill, i) => {
      const j = to.hills.findIndex((other) => other.ids.some((id) => hill.ids.includes(id)));
      if (j < 0) return;
      const ahead = heaviest(best.filter((chain) => chain.j < j));
      best.push({ i, j, ahead, weight: (ahead?.weight ?? 0) + Math.min(hill.one.size, to.hills[j].one.size) });
    });
    const pairs = [];
    for (let chain = heaviest(best); chain; chain = chain.ahead) pairs.unshift([chain.i, chain.j]);
    return pairs;
  }

  // --- 5 words

  const many = (n) => n.toLocaleString("en");
  const percent = (part, whole) => {
    const rounded = Math.round((100 * part) / whole);
    return `${part && !rounded ? "under 1" : part < whole && rounded === 100 ? "over 99" : rounded}\u00a0%`;
  };
  const category = (i) => land().categories[i];
  const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

  function families({ kingdoms: [animals, artifacts], size: all }) {
    const rest = all - animals - artifacts;
    return `${percent(animals, all)} animals, ${percent(artifacts, all)} artifacts${rest ? `, ${percent(rest, all)} neither` : ""}`;
  }

  function lasts(one) {
    const levels = land().levels;
    const last = levels.findLastIndex((_, j) => layer().views[j].mountains.some(({ peak }) => peak === one.peak));
    if (last === levels.length - 1) return `It stands at every sea level shown, up to Z = ${levels[last]}.`;
    return `It drowns between Z = ${levels[last]} and ${levels[last + 1]}.`;
  }

  function story(one) {
    if (!state.layer) return "";
    const before = land().layers[state.layer - 1];
    const old = before.views[state.level].mountains.find((other) => other.id === one.id);
    return old ? `In ${shown(before.name)} it had ${many(old.size)} photographs.` : `It is new in this layer.`;
  }

  const describe = (one) => `${one.name}: ${many(one.size)} photographs, ${families(one)}. ` +
    `${one.group ? `WordNet group ${one.group[0]}, ${Math.round(100 * one.group[1])} %. ` : ""}` +
    `Most frequent: ${one.categories.slice(0, 3).map(([c, n]) => `${category(c)} ${n}`).join(", ")}.`;

  const largest = () => view().mountains.reduce((a, b) => (b.size > a.size ? b : a));

  function sentence() {
    const n = view().mountains.length, most = largest(), where = shown(layer().name);
    const count = n === 1 ? "<b>one mountain</b>" : `<b>${n} mountains</b>`;
    const who = most.name === "mixed" ? " is <b>mixed</b>, with" : `, <b>${escape(most.name)}</b>, has`;
    const what = state.weights === "random" ? ", random weights" : "", z = land().levels[state.level];
    return `${where[0].toUpperCase()}${where.slice(1)}${what}: ${count} at Z\u00a0=\u00a0${z}. ` + (n === 1
      ? `All ${many(most.size)} photographs are on it.`
      : `The largest${who} ${many(most.size)} photographs: ${families(most)}.`);
  }

  function photo(number, kind) {
    const { pictures } = set();
    if (!pictures) return "";
    const [column, row] = cell(pictures, number), side = kind === "summit" ? 88 : 44;
    const { columns } = pictures, rows = Math.ceil(pictures.numbers.length / columns);
    const style = `background: url(${sheet(pictures).url}) -${side * column}px -${side * row}px / ${side * columns}px ${side * rows}px`;
    return `<span class="photo ${kind}" style="${style}"></span>`;
  }

  const wide = (part, whole) => `style="width:${(100 * part) / whole}%"`;

  function fillPanel(one) {
    const most = one.categories[0][1], rest = one.size - one.categories.reduce((sum, [, n]) => sum + n, 0);
    const rows = one.categories.map(([c, n, best]) => `<li>${photo(best, "")}<span>${escape(category(c))}</span>
      <i class="k${land().kingdoms[c]}" ${wide(n, most)}></i><span>${many(n)}</span></li>`);
    const group = one.group
      ? `${Math.round(100 * one.group[1])} % of them are in WordNet's group <b>${escape(one.group[0])}</b>.`
      : "No group of WordNet holds more than half of them.";
    $("panel").innerHTML = `<div>${photo(one.peak, "summit")}
      <p class="kicker">${one.peak === (pointed ?? state.peak) ? "This mountain" : "The largest mountain"}</p>
      <h2>${escape(one.name)}</h2>
      <p>${many(one.size)} photographs, ${percent(one.size, land().photographs)} of all. ${group}</p>
      <div class="share"><i ${wide(one.kingdoms[0], one.size)}></i><i ${wide(one.kingdoms[1], one.size)}></i></div>
      <p>${families(one)}</p><p>${lasts(one)} ${story(one)}</p></div>
      <div><ul class="made ${set().pictures ? "pictured" : ""}">${rows.join("")}</ul>
      <p>${rest ? `and ${many(rest)} photographs of other categories` : ""}</p></div>`;
  }

  function fillTable() {
    if (!$("table").open) return;
    const cells = (kind, values) => `<tr>${values.map((value) => `<${kind}>${escape(String(value))}</${kind}>`).join("")}</tr>`;
    const heads = ["mountain", "photographs", "WordNet group", "animals", "artifacts", "height", "pass to the next", "most frequent"];
    const rows = view().mountains.map((one) => cells("td", [
      one.name, many(one.size), one.group ? `${one.group[0]} ${Math.round(100 * one.group[1])} %` : "",
      ...one.kingdoms.map((n) => percent(n, one.size)), one.top.toFixed(1), one.pass?.toFixed(1) ?? "",
      one.categories.map(([c, n]) => `${category(c)} ${n}`).join(", "),
    ]));
    const table = `<table><thead>${cells("th", heads)}</thead><tbody>${rows.join("")}</tbody></table>`;
    $("table").querySelector(".scroll").innerHTML = table;
  }

  // --- 6 hands, keys and theme

  let pointed = null, playing = 0;
  /** The mountain that is pointed at, else the chosen one, else the largest. */
  const listed = () => view().mountains.find((one) => one.peak === (pointed ?? state.peak)) ?? largest();

  /** Show the state in all its places. */
  function show() {
    const levels = land().levels, names = land().layers.map((one) => one.name);
    pointed = null;
    $("tip").hidden = true;
    $("says").innerHTML = sentence();
    $("layer").max = names.length - 1;
    $("layer").value = state.layer;
    $("layer").disabled = names.length < 2;
    $("layer").setAttribute("aria-valuetext", shown(layer().name));
    $("layer-name").textContent = shown(layer().name) + (layer().name.endsWith("mean") ? ", averaged over positions" : "");
    $("sea").max = levels.length - 1;
    $("sea").value = state.level;
    $("sea").setAttribute("aria-valuetext", `Z = ${levels[state.level]}`);
    const all = layer().views[0].mountains.length;
    $("sea-name").textContent = `Z = ${levels[state.level]}`;
    $("stand").textContent = state.level ? `${view().mountains.length} of ${all} mountains stand` : "raise it, and mountains join";
    for (const input of document.querySelectorAll("[name=set]")) input.checked = input.value === state.set;
    for (const input of document.querySelectorAll("[name=weights]")) input.checked = input.value === state.weights;
    const counts = land().layers.map((one) => one.views[state.level].mountains.length), most = Math.max(...counts);
    const now = (i) => `class="${i === state.layer ? "now" : ""}"`;
    $("bars").innerHTML = counts.map((n, i) => `<div ${now(i)}>${n}<i style="height:${(40 * n) / most}px"></i></div>`).join("");
    $("ticks").innerHTML = names.map((name, i) => `<span ${now(i)}>${shown(name).replace("stage ", "")}</span>`).join("");
    document.querySelector(".layers").style.setProperty("--n", names.length);
    $("link").href = location.pathname + address();
    $("note").textContent = set().note + (set().pictures ? " " + set().pictures.credit : "");
    $("grain").textContent = `one in ${land().grain} is drawn`;
    wanted = scene();
    placeOptions();
    fillPanel(listed());
    fillTable();
    move(wanted);
  }

  /** A focusable option over each mountain, for keys and screen readers. */
  function placeOptions() {
    const box = $("mountains"), focused = box.contains(document.activeElement);
    const { hills, high: [top] } = wanted;
    const current = Math.max(0, hills.findIndex(({ one }) => one.peak === state.peak));
    box.innerHTML = hills.map(({ one, n }, i) => {
      const [left, right] = [px(n[0]), px(n[1])], height = (n[4] / top) * (size.base - air());
      const place = `left:${left}px;width:${Math.max(6, right - left)}px;top:${size.base - height}px;height:${height}px`;
      return `<div role="option" tabindex="${i === current ? 0 : -1}" aria-selected="${one.peak === state.peak}"
        data-peak="${one.peak}" data-size="${one.size}" aria-label="${escape(describe(one))}" style="${place}"></div>`;
    }).join("");
    if (focused) box.children[current].focus({ preventScroll: true });
  }

  function under(event) {
    const box = stage.getBoundingClientRect(), x = event.clientX - box.left;
    const { hills } = wanted, gap = ({ n }) => Math.max(px(n[0]) - x, x - px(n[1]), 0);
    return hills.reduce((a, b) => (gap(b) < gap(a) ? b : a)).one;
  }

  function pointAt(one, event) {
    if (pointed === (one?.peak ?? null)) { if (one) placeTip(event); return; }
    pointed = one?.peak ?? null;
    $("tip").hidden = !one;
    if (one) {
      const first = one.categories.slice(0, 3).map(([c]) => escape(category(c))).join(", ");
      $("tip").innerHTML = `<b>${escape(one.name)}</b>${many(one.size)} photographs: ${first}${one.categories.length > 3 ? " …" : ""}`;
      placeTip(event);
    }
    fillPanel(listed());
    if (seen) draw(seen);
  }

  function placeTip(event) {
    const box = stage.getBoundingClientRect(), tip = $("tip"), x = event.clientX - box.left, y = event.clientY - box.top;
    tip.style.left = `${Math.max(4, Math.min(x + 14, box.width - tip.offsetWidth - 6))}px`;
    tip.style.top = `${Math.max(4, y - tip.offsetHeight - 10)}px`;
  }

  function play(on) {
    clearInterval(playing);
    playing = on ? setInterval(step, still.matches ? 2200 : 1900) : 0;
    $("play").querySelector("span").textContent = on ? "Pause" : "Play the layers";
    $("play").querySelector("path").setAttribute("d", on ? "M3 2h4v12H3zM9 2h4v12H9z" : "M4 2.5v11l9-5.5z");
  }
  function step() {
    if (state.layer + 1 >= land().layers.length) return play(false);
    go({ layer: state.layer + 1 });
    if (state.layer + 1 >= land().layers.length) play(false);
  }

  const within = (i, all) => Math.max(0, Math.min(all.length - 1, i));
  function onKey(event) {
    const { mountains } = view(), at = Number([...$("mountains").children].indexOf(document.activeElement));
    const chosen = (i) => ({ peak: mountains[within(i, mountains)].peak });
    const change = {
      ArrowRight: () => chosen(state.peak === null ? at : at + 1), ArrowLeft: () => chosen(at - 1),
      Home: () => chosen(0), End: () => chosen(mountains.length - 1), Enter: () => chosen(at), " ": () => chosen(at),
      ArrowDown: () => ({ layer: within(state.layer + 1, land().layers) }),
      ArrowUp: () => ({ layer: within(state.layer - 1, land().layers) }),
      "+": () => ({ level: within(state.level + 1, land().levels) }),
      "-": () => ({ level: within(state.level - 1, land().levels) }),
      Escape: () => ({ peak: null }),
    }[event.key];
    if (!change || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    play(false);
    go(change());
  }

  function theme() {
    let mode = null;
    try { mode = localStorage.getItem("theme") ?? null; } catch { /* a page from the disk may have no storage */ }
    if (mode === "light" || mode === "dark") document.documentElement.dataset.theme = mode;
    else delete document.documentElement.dataset.theme;
    readColours();
    if (seen) draw(seen);
  }

  function start() {
    const choice = ({ key, title }) => `<label><input type="radio" name="set" value="${key}"><span>${escape(title)}</span></label>`;
    $("sets").innerHTML = SETS.map(choice).join("");
    const on = (inputs, event, change) => inputs.forEach((input) => input.addEventListener(event, () => {
      play(false);
      go(change(input.value));
    }));
    on(document.querySelectorAll("[name=set]"), "change", (key) => ({ set: key }));
    on(document.querySelectorAll("[name=weights]"), "change", (weights) => ({ weights }));
    on([$("layer")], "input", (value) => ({ layer: Number(value) }));
    on([$("sea")], "input", (value) => ({ level: Number(value) }));
    $("bars").addEventListener("click", (event) => {
      const at = [...$("bars").children].indexOf(event.target.closest("#bars > div"));
      if (at >= 0) { play(false); go({ layer: at }); }
    });
    $("play").addEventListener("click", () => {
      if (playing) return play(false);
      if (state.layer + 1 >= land().layers.length) go({ layer: 0 });
      play(true);
    });
    stage.addEventListener("pointermove", (event) => pointAt(under(event), event));
    stage.addEventListener("pointerleave", () => pointAt(null));
    canvas.addEventListener("click", (event) => {
      const { peak } = under(event);
      play(false);
      go({ peak: peak === state.peak ? null : peak });
    });
    $("mountains").addEventListener("keydown", onKey);
    $("table").addEventListener("toggle", fillTable);
    addEventListener("hashchange", () => { readAddress(); show(); });
    addEventListener("storage", theme);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
    new ResizeObserver(() => { fit(); seen = null; show(); }).observe(stage);
    if (window.parent !== window) {
      document.documentElement.classList.add("embedded");
      $("link").target = "_top";
      const article = document.querySelector("article");
      new ResizeObserver(() => parent.postMessage({ explorer: article.offsetHeight }, "*")).observe(article);
    }
    theme();
    fit();
    readAddress();
    show();
  }
  start();
})();
