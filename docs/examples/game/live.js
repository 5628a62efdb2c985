// A WebSocket that comes back by itself, and the status line that says how it stands.

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
 * before each try is done by `before()`: if it fails, so does the try; if it returns false, no connection is wanted.
 *
 * The state stands in the element with the id "status". What has the attribute data-online is disabled without a connection.
 * Binary data is an ArrayBuffer.
 */
export function connect(path, { before, opened, received, changed } = {}) {
  const status = document.getElementById("status");
  let socket, timer, since, wanted, delay = 1;

  function show(state, words) {
    status.dataset.state = state;
    status.textContent = words;
    for (const control of document.querySelectorAll("[data-online]")) control.disabled = state !== "open";
    changed?.(state);
  }

  function again(what) {
    if (since && Date.now() - since > 1000 * LONGEST) delay = 1;  // It was good for a while, so it may be again.
    show("lost", `${what}. Trying again within ${delay} s …`);
    // Not all browsers in the same moment: a server that starts again is busy enough.
    timer = setTimeout(open, 1000 * delay * (0.5 + Math.random() / 2));
    delay = Math.min(2 * delay, LONGEST);
  }

  async function open() {
    clearTimeout(timer);
    since = null;
    wanted = true;
    show("connecting", "Connecting …");
    try {
      if (await before?.() === false) wanted = false;
    } catch {
      return again("No connection");
    }
    if (!wanted) return show("closed", "Not connected");

    socket = new WebSocket(address(typeof path === "function" ? path() : path));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      since = Date.now();
      show("open", "Connected");
      opened?.();
    };
    socket.onmessage = (event) => received?.(event.data);
    socket.onclose = ({ code, reason }) => {
      // 1000: all is said. 1008 and the codes of applications: the server does not want us. The others are accidents.
      const meant = code === 1000 || code === 1008 || code >= 4000;
      if (meant || !wanted) show("closed", `Closed with code ${code}${reason && `: ${reason}`}`);
      else again(`${since ? "Connection lost" : "No connection"} (code ${code})`);
    };
  }

  addEventListener("online", () => {
    if (wanted && status.dataset.state === "lost") open();
  });
  open();

  return {
    /** Open it again now. */
    open,
    /** Close it for good. */
    close() {
      clearTimeout(timer);
      wanted = false;
      if (status.dataset.state === "lost") show("closed", "Not connected");
      socket?.close(1000);
    },
    /** Send text or bytes, and return whether there was a connection to send them on. */
    send(data) {
      const can = socket?.readyState === WebSocket.OPEN;
      if (can) socket.send(data);
      return can;
    },
  };
}
