"""One low-rank normal for a whole data set, without a network: by PCA, in closed form, by steps."""
