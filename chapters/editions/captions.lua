-- For pandoc: below a figure stands its caption instead of its description,
-- and what is in comments goes to the notes of the speaker.
function Pandoc(document)
  local blocks = pandoc.List()
  for _, block in ipairs(document.blocks) do
    local last = blocks[#blocks]
    if block.t == "Para" and last and last.t == "Figure" then
      last.caption = { long = { pandoc.Plain(block.content) } }
      blocks[#blocks] = last:walk({
        Image = function(image)
          image.attributes.alt = pandoc.utils.stringify(image.caption)
          image.caption = block.content
          return image
        end,
      })
    elseif block.t == "RawBlock" and block.text:match("^<!%-%-") then
      local notes = pandoc.read(block.text:sub(5, -4)).blocks
      blocks:insert(pandoc.Div(notes, { class = "notes" }))
    else
      blocks:insert(block)
    end
  end
  document.blocks = blocks
  return document
end
