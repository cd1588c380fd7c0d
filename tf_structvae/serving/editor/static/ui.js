/** Tabs, notices and other parts of the page that know nothing of pictures. */

export const $ = (id) => document.getElementById(id);

/** An element with properties and children. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export const GONE = "gone"; // key of the notice that the server does not answer

/** Tells something in words; errors stay until they are closed or something succeeds. */
export function notify(text, kind = "information", key = text) {
  const box = $("notices");
  dismiss(key);
  const close = element("button", { textContent: "Close", className: "close" });
  const notice = element("div", { className: `notice ${kind}` }, element("p", { textContent: text }), close);
  notice.dataset.key = key;
  close.addEventListener("click", () => notice.remove());
  if (kind !== "error") setTimeout(() => notice.remove(), 8000);
  box.append(notice);
}

export function dismiss(key) {
  for (const notice of [...$("notices").children]) if (notice.dataset.key === key) notice.remove();
}

/** Removes what was told of earlier actions, but that the server is gone, which lasts until it answers. */
export function dismissErrors() {
  for (const notice of [...$("notices").children]) {
    if (notice.classList.contains("error") && notice.dataset.key !== GONE) notice.remove();
  }
}

/** Runs an action; what goes wrong is told. */
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    notify(error.message, "error", error.gone ? GONE : error.message);
    return undefined;
  }
}

/** Runs an action of the reader, whose success ends the errors before it. */
function act(action) {
  return attempt(async () => {
    await action();
    dismissErrors();
  });
}

/** A click on a button that may take a while and may fail. */
export function onClick(id, action) {
  const button = $(id);
  button.addEventListener("click", async () => {
    button.setAttribute("aria-busy", "true");
    await act(action);
    button.removeAttribute("aria-busy");
  });
}

/** A form with one field, a seed. */
export function seedForm(form, input, action) {
  $(form).addEventListener("submit", (event) => {
    event.preventDefault();
    act(() => {
      const text = $(input).value.trim();
      if (!/^\d{1,9}$/.test(text)) throw new Error("A seed is a whole number from 0 to 999999999.");
      return action(Number(text));
    });
  });
}

/** Makes the tabs work; calls back with the id of the panel that is shown. */
export function tabs(callback) {
  const all = [...document.querySelectorAll('[role="tab"]')];
  const choose = (tab) => {
    for (const each of all) {
      const chosen = each === tab;
      each.setAttribute("aria-selected", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
      $(each.getAttribute("aria-controls")).hidden = !chosen;
    }
    callback(tab.getAttribute("aria-controls"));
  };
  for (const [i, tab] of all.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = all[(i + step + all.length) % all.length];
      next.focus();
      choose(next);
    });
  }
}

/** Light, dark or as the system, kept in this browser. */
export function theme() {
  const select = $("theme");
  select.value = remember("structvae:theme") ?? "auto";
  const apply = () => {
    document.documentElement.dataset.theme = select.value;
    keep("structvae:theme", select.value);
  };
  select.addEventListener("change", apply);
  apply();
}

/** localStorage may be full, or refused by the browser. */
export function keep(key, value) {
  try {
    localStorage.setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

export function remember(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Whether a key belongs to the element that has the focus. */
export function isTyping(target) {
  return target.matches("select, textarea, input:is(:not([type]), [type=text])");
}
