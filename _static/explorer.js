/* The frame of the landscape explorer on the front page is as high as what is in it. */
addEventListener("message", ({ source, data }) => {
  const frame = document.getElementById("explorer");
  if (frame && source === frame.contentWindow && data.explorer > 0) frame.style.height = `${Math.ceil(data.explorer)}px`;
});
