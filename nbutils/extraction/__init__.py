"""From photographs to activations on disk. In the order of the work:

photographs  pictures  sources  listed    folders of images, reading a picture, data sets by name, lists of images
network  families  checkpoints  models    a network and its layers by name, with the weights of a package or a file
inputs                                    what a network is given, in batches
recording  rows                           what its layers output, and what is kept of it
request  identity  plan                   what is asked of an extraction, and whether a folder holds a part of just that
store  writing                            the folder with the activations: reading it, and filling it safely
activations                               `extract` itself, which brings these together
adaptation                                an ImageNet network trained further on small pictures
"""
