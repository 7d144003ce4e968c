// Numbers, sizes, times and names as people read them.

import { t, language } from "./i18n.js";

export function count(value) {
  return typeof value === "number" ? value.toLocaleString(language()) : "–";
}

/** A count that has to fit an axis or a tile: 12.3k. */
export function short(value) {
  if (typeof value !== "number") return "–";
  const steps = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, unit] of steps) if (Math.abs(value) >= size) return trim(value / size) + unit;
  return trim(value);
}

const trim = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toFixed(value < 1 ? 2 : 1))));

export function rate(value) {
  return typeof value === "number" ? t("{rate}/s", { rate: short(value) }) : "–";
}

export function bytes(value) {
  if (typeof value !== "number") return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  for (; value >= 1024 && step < units.length - 1; step++) value /= 1024;
  return `${step === 0 ? value : trim(value)} ${units[step]}`;
}

export const byteRate = (value) => (typeof value === "number" ? t("{rate}/s", { rate: bytes(value) }) : "–");

export function milliseconds(value) {
  if (typeof value !== "number") return "–";
  return value < 1 ? `${Math.round(value * 1000)} µs` : `${trim(value)} ms`;
}

/** A span of time in its two largest units. */
export function span(ms) {
  if (typeof ms !== "number") return "–";
  const units = [[86_400_000, t("d")], [3_600_000, t("h")], [60_000, t("min")], [1000, t("s")]];
  const first = units.findIndex(([size]) => ms >= size);
  if (first < 0) return `${Math.round(ms)} ms`;
  const parts = units.slice(first, first + 2).map(([size, unit]) => {
    const whole = Math.floor(ms / size);
    ms -= whole * size;
    return whole === 0 ? "" : `${whole} ${unit}`;
  });
  return parts.filter(Boolean).join(" ");
}

export function moment(ms) {
  if (typeof ms !== "number") return "–";
  return new Date(ms).toLocaleString(language(), { dateStyle: "medium", timeStyle: "medium" });
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString(language(), { hour12: false });
}

export const yesNo = (value) => (value ? t("yes") : t("no"));
