/** After a practice case: look once more, and go on. */
import { listen } from "./keys.js";
import { Viewer } from "./viewer.js";

const onward = document.getElementById("onward");
listen(new Viewer(document.querySelector(".viewer")), (key) => {
  if (key === "Enter") onward.click();
  return key === "Enter";
});
