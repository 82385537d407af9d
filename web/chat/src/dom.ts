// Two helpers over the DOM: find what the page has, make what it lacks.

/** The element with this id. @throws when the page has none: a mistake in index.html */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

type Child = Node | string;

/** An element with properties and children: `make("button", { type: "button", className: "quiet" }, "Copy")`. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A button that does one thing. */
export function button(label: string, onClick: () => void, className = "quiet"): HTMLButtonElement {
  const b = make("button", { type: "button", className }, label);
  b.addEventListener("click", onClick);
  return b;
}
