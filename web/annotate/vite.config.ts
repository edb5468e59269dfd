import { defineConfig } from "vite";

// The server's content security policy allows no inline script, style or image: everything is a file under /static/.
export default defineConfig({
  base: "/static/",
  build: {
    outDir: "../../src/histosynth/annotate/page",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    license: { fileName: "LICENSES.md" },
    target: "es2022",
  },
});
