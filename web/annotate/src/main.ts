/** Start the page. */

import { ApiError, Client } from "./api/client";
import { App } from "./app";
import { byId } from "./ui/dom";

async function start(): Promise<void> {
  const client = new Client();
  try {
    const session = await client.session();
    await new App(client, session).start();
  } catch (error) {
    const signedOut = error instanceof ApiError && error.status === 401;
    byId("empty").textContent = signedOut
      ? "Please open the link that you received: it opens your outlines."
      : `The page could not start: ${error instanceof Error ? error.message : String(error)}`;
  }
}

void start();
