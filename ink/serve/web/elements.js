// Making elements. Text always goes in as text: nothing here reads HTML.

function add(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

// make("p", {class: "hint"}, "text", otherElement)
export function make(tag, attributes = {}, ...children) {
  return add(document.createElement(tag), attributes, children);
}

export function makeSvg(tag, attributes = {}, ...children) {
  return add(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

export const byId = (id) => document.getElementById(id);

// A setting that outlives the page; where the browser keeps nothing, the fallback.
export function remembered(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem("ink." + name)) ?? fallback;
  } catch {
    return fallback;
  }
}

// False if the browser has no room for it, or keeps nothing.
export function remember(name, value) {
  try {
    localStorage.setItem("ink." + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}
