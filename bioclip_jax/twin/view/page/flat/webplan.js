// Arrangement of a food web: rows by who is eaten, species that share links near each other.

const SWEEPS = 12;

// Returns {rows, x, y} with positions in a box for each species; levels: trophic levels.
export function planWeb(species, links, width, height, {mostInRow, roomy, top = 0, bottom = 0}) {
  const kinds = [
    species.map((one, number) => number).filter((number) => species[number].level >= 2.5),
    species.map((one, number) => number).filter((number) => species[number].level > 1.001 && species[number].level < 2.5),
    species.map((one, number) => number).filter((number) => species[number].level <= 1.001),
  ];
  const rows = [];
  kinds.forEach((members, kind) => {
    const ordered = [...members].sort((one, other) => species[other].level - species[one].level || other - one);
    const count = Math.max(1, Math.ceil(ordered.length / mostInRow));
    const size = Math.ceil(ordered.length / count);
    for (let start = 0; start < ordered.length; start += size) {
      rows.push({kind, members: ordered.slice(start, start + size)});
    }
  });
  const neighbors = species.map((_, number) => links.flatMap(({resource, consumer}) => {
    if (resource === consumer) return [];
    return resource === number ? [consumer] : consumer === number ? [resource] : [];
  }));
  const x = new Array(species.length).fill(0.5);
  const spread = () => rows.forEach(({members}) => members.forEach((one, place) => {
    x[one] = (place + 0.5) / members.length;
  }));
  spread();
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const row of sweep % 2 ? rows : [...rows].reverse()) {
      const center = (one) => {
        const near = neighbors[one];
        return near.length ? near.reduce((sum, other) => sum + x[other], 0) / near.length : x[one];
      };
      const centers = new Map(row.members.map((one) => [one, center(one)]));
      row.members.sort((one, other) => centers.get(one) - centers.get(other) || one - other);
    }
    spread();
  }
  // Rows of one kind stand closer together than kinds.
  const gaps = rows.map((row, place) => (place === 0 ? 0 : row.kind === rows[place - 1].kind ? 0.75 : 1.25));
  // In a crowded row, every other species stands lower, so that names do not touch.
  const stagger = rows.map(({members}) => (width / members.length < roomy && members.length > 2 ? 0.42 : 0));
  rows.forEach((row, place) => {
    if (place > 0) gaps[place] += stagger[place - 1];
  });
  const last = stagger.at(-1) ?? 0;
  const total = gaps.reduce((sum, gap) => sum + gap, last) || 1;
  const y = new Array(species.length).fill(0);
  let at = 0;
  rows.forEach((row, place) => {
    at += gaps[place];
    row.y = top + (at / total) * (height - top - bottom);
    row.members.forEach((one, number) => {
      y[one] = row.y + (number % 2 ? (stagger[place] / total) * (height - top - bottom) : 0);
    });
  });
  return {rows, x: x.map((share) => share * width), y};
}

// Returns the path of a link from resource to consumer.
export function linkPath(x1, y1, x2, y2) {
  if (Math.abs(y1 - y2) < 1) {
    const lift = Math.min(60, 18 + Math.abs(x2 - x1) * 0.18);
    return `M${x1.toFixed(1)} ${y1.toFixed(1)}Q${((x1 + x2) / 2).toFixed(1)} ${(y1 - lift).toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}`;
  }
  const middle = (y1 + y2) / 2;
  return `M${x1.toFixed(1)} ${y1.toFixed(1)}C${x1.toFixed(1)} ${middle.toFixed(1)} ${x2.toFixed(1)} ${middle.toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}`;
}
