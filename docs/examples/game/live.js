// A WebSocket that comes back by itself, and the status line that says how it stands.

const SILENCE = 30;  // seconds; the server says something every 20, if only an empty text
const PATIENCE = 10;  // seconds for one try
const LONGEST = 16;  // seconds between two tries

/** The address of a WebSocket beside the page: it holds at "/", under a mount and in an iframe. */
export function address(path) {
  const url = new URL(path, document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");  // https: becomes wss:
  return url;
}

/**
 * Keep a WebSocket open to `path`, or to what `path()` returns each time. The page may give functions that are called when it
 * `opened()`, `received(data)` a message, or `changed(state)` to "connecting", "open", "lost" or "closed". What has to happen
 * before the first try, and before each after a failure, is done by `before(signal)`: if it fails, so does the try; if it returns
 * false, no connection is wanted. The signal aborts what it fetches when the try is given up.
 *
 * The state stands in the element with the id "status". What has the attribute data-online is disabled without a connection.
 * Binary data is an ArrayBuffer.
 */
export function connect(path, { before, opened, received, changed } = {}) {
  const status = document.getElementById("status");
  let socket, attempt, timer, since, wanted, delay = 1;

  function show(state, words) {
    status.dataset.state = state;
    status.textContent = words;
    for (const control of document.querySelectorAll("[data-online]")) control.disabled = state !== "open";
    changed?.(state);
  }

  /** Do something in some seconds, unless something else happens before. */
  function later(seconds, what) {
    clearTimeout(timer);
    timer = setTimeout(what, 1000 * seconds);
  }

  /** Leave the socket, whatever it is doing. On a dead line the browser needs a minute to close it, so nobody waits for that. */
  function leave() {
    clearTimeout(timer);
    attempt?.abort();  // None of its events arrives any more.
    socket?.close();
    socket = null;
  }

  function end(words) {
    leave();
    wanted = false;
    show("closed", words);
  }

  function lost(what) {
    leave();
    if (since && Date.now() - since > 1000 * LONGEST) delay = 1;  // It was good for a while, so it may be again.
    show("lost", `${what}. Trying again within ${delay} s …`);
    // Not all browsers in the same moment: a server that starts again is busy enough.
    later(delay * (0.5 + Math.random() / 2), open);
    delay = Math.min(2 * delay, LONGEST);
  }

  function heard() {
    later(SILENCE, () => {
      lost(`Connection lost (silent for ${SILENCE} s)`);
      open({ known: true });  // at once: it is the line that is dead, not the server
    });
  }

  /** Try to connect. If the server still knows us, nothing has to happen before: a request might take a line that is dead, too. */
  async function open({ known = false } = {}) {
    leave();
    attempt = new AbortController();
    const { signal } = attempt;
    since = null;
    wanted = true;
    show("connecting", "Connecting …");
    later(PATIENCE, () => lost(`No answer for ${PATIENCE} s`));
    let ready;
    try {
      ready = known || await before?.(signal);
    } catch {
      if (!signal.aborted) lost("No connection");
      return;
    }
    if (signal.aborted) return;
    if (ready === false) return end("Not connected");

    socket = new WebSocket(address(typeof path === "function" ? path() : path));
    socket.binaryType = "arraybuffer";
    const on = (event, listener) => socket.addEventListener(event, listener, { signal });
    on("open", () => {
      since = Date.now();
      heard();
      show("open", "Connected");
      opened?.();
    });
    on("message", ({ data }) => {
      heard();
      if (data !== "") received?.(data);
    });
    on("close", ({ code, reason }) => {
      // 1000: all is said. 1008 and the codes of applications: the server does not want us. The others are accidents.
      const meant = code === 1000 || code === 1008 || code >= 4000;
      if (meant) end(`Closed with code ${code}${reason && `: ${reason}`}`);
      else lost(`${since ? "Connection lost" : "No connection"} (code ${code})`);
    });
  }

  addEventListener("offline", () => {
    if (wanted && status.dataset.state !== "lost") lost("The network is gone");
  });
  addEventListener("online", () => {
    delay = 1;
    if (wanted && status.dataset.state !== "open") open();
  });
  open();

  return {
    /** Open it again now. */
    open,
    /** Close it for good. */
    close() {
      const connected = socket?.readyState === WebSocket.OPEN;
      if (connected) socket.close(1000);
      end(connected ? "Closed with code 1000" : "Not connected");
    },
    /** Send text or bytes, and return whether there was a connection to send them on. */
    send(data) {
      const can = socket?.readyState === WebSocket.OPEN;
      if (can) socket.send(data);
      return can;
    },
  };
}
