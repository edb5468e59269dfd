/** After a practice case: look at the patch again, then continue. */
import { listen } from "./keys.js";
import { Viewer } from "./viewer.js";

const next = document.getElementById("continue");
listen(new Viewer(document.querySelector(".viewer")), (key) => {
  if (key === "Enter") next.click();
  return key === "Enter";
});
