"""LTVAE and LTVAE-GMM (Li, Chen, Poon & Zhang, ICLR 2019): the models, their training, and the axes of their codes."""
